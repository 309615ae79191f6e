"""What it would cost to change the model: told from what was measured, or not at all."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from search.catalog import model_records, pace, settings
from search.catalog.connection import connect_to_write
from search.home import Home
from search.model_choices import model_choices
from search.models.names import PRESETS


@pytest.fixture
def connection(home: Home) -> Iterator[sqlite3.Connection]:
    with closing(connect_to_write(home)) as connection:
        for number in range(10):
            connection.execute(
                "INSERT INTO photos (key, id, width, height, format, bytes, sort_at, added_at, orphaned_at)"
                " VALUES (?, ?, 1, 1, 'JPEG', 1, '', '', ?)",
                (number, str(number), "" if number == 0 else None),
            )
        yield connection


def use(connection: sqlite3.Connection, name: str, photos: int) -> int:
    model = model_records.register(
        connection,
        name=name,
        weights="f",
        preprocessing="p",
        precision="auto",
        dimensions=8,
        logit_scale=1.0,
        logit_bias=None,
    )
    connection.executemany(
        "INSERT INTO embeddings (model_key, photo_key, vector) VALUES (?, ?, x'00')",
        [(model.key, photo) for photo in range(photos)],
    )
    model_records.activate(connection, model.key)
    return model.key


def choices(connection: sqlite3.Connection | None) -> dict[str, dict[str, Any]]:
    return {preset["name"]: preset for preset in model_choices(connection)["presets"]}


def test_without_an_index_only_the_models_are_known() -> None:
    document = model_choices(None)
    assert document["index"] is None and [one["name"] for one in document["presets"]] == list(PRESETS)
    for preset in document["presets"]:
        assert preset["photos_to_embed"] is preset["seconds"] is None and not preset["used"]
        assert (preset["download_bytes"] == 0) is preset["installed"]


def test_photos_that_a_model_has_embedded_cost_nothing_again(connection: sqlite3.Connection) -> None:
    use(connection, "fast", 4)  # of which one is an orphan
    use(connection, "starter", 10)
    found = choices(connection)
    assert {name: preset["photos_to_embed"] for name, preset in found.items()} == {
        "starter": 0,
        "fast": 6,
        "balanced": 9,
        "best": 9,
    }
    assert [name for name, preset in found.items() if preset["used"]] == ["starter"]
    assert {preset["seconds"] for preset in found.values()} == {None}  # nothing was measured


@pytest.mark.parametrize(("column", "precision"), [(0, "fp32"), (1, "bf16")])
def test_seconds_are_those_of_the_measured_run_scaled(
    connection: sqlite3.Connection, column: int, precision: str
) -> None:
    key = use(connection, "starter", 10)
    # A hundredth of a second for each photo, of which the model took a quarter.
    pace.put(connection, key, precision, 0.01, 0.25)
    found = choices(connection)
    assert found["starter"]["seconds"] == 0
    fast, photo = PRESETS["fast"], PRESETS["starter"].photo_cost[column]
    photos = 9 * (0.0075 + 0.0025 * fast.photo_cost[column] / photo)
    # A model that is new to the library embeds the sentences and concepts first: the larger part, of nine photos.
    texts = found["fast"]["seconds"] - photos
    assert texts / (0.0025 * fast.text_cost[column] / photo) == pytest.approx(9700, rel=0.1)
    use(connection, "fast", 0)
    model_records.activate(connection, key)
    assert choices(connection)["fast"]["seconds"] == pytest.approx(photos, abs=0.06)


@pytest.mark.parametrize("other", ["machine", "weights", "model"])
def test_what_was_measured_elsewhere_tells_nothing(
    connection: sqlite3.Connection, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = use(connection, "local-dir:/mine" if other == "model" else "starter", 10)
    pace.put(connection, key + 1 if other == "weights" else key, "bf16", 0.01, 0.25)
    if other == "machine":
        name = socket.gethostname()
        monkeypatch.setattr(socket, "gethostname", lambda: f"not {name}")
    assert {preset["seconds"] for preset in choices(connection).values()} == {None}
    assert settings.get(connection, "pace") is not None
