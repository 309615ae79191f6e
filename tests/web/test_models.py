"""The models to choose from, over HTTP."""

from __future__ import annotations

from pathlib import Path

from fastapi.testclient import TestClient

from search.home import Home
from web.app import create_app
from web.documents.models import ModelChoices


def test_the_model_in_use_is_marked(client: TestClient) -> None:
    choices = ModelChoices.model_validate(client.get("/api/models").json())
    assert choices.index is not None and choices.index.model == "starter"
    assert {preset.name: preset.used for preset in choices.presets} == {
        "starter": True,
        "fast": False,
        "balanced": False,
        "best": False,
    }
    assert [preset.photos_to_embed for preset in choices.presets] == [0, 11, 11, 11]
    assert {preset.seconds for preset in choices.presets} == {None}  # eleven photos tell nothing


def test_there_is_an_answer_before_there_is_an_index(tmp_path: Path) -> None:
    client = TestClient(create_app(Home(tmp_path / "none")), base_url="http://localhost")
    assert ModelChoices.model_validate(client.get("/api/models").json()).index is None
    assert not (tmp_path / "none").exists()
