"""The server about itself, before and after there is an index, and when something breaks inside it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from problem_checks import assert_problem

from indexer.progress import Silent
from indexer.report import IndexOptions
from indexer.run import run_index
from search.engine import Engine
from search.home import Home
from web.app import create_app
from web.documents.service import Status
from web.problems import NO_INDEX


def test_status_is_as_the_openapi_document_says(client: TestClient) -> None:
    status = Status.model_validate(client.get("/api/status").json())
    assert status.photos == status.embedded == 11
    assert status.model == "starter"
    assert status.generation is not None
    assert [job.state for job in status.jobs] == ["done"]


def test_health_and_readiness(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}


def test_metrics_count_by_route_and_never_by_what_was_asked(client: TestClient) -> None:
    for path in ("/api/search", "/api/photos/" + "0" * 32, "/nowhere/1", "/nowhere/2", "/static/css/base.css"):
        client.get(path)
    client.request("BREW", "/api/search")
    text = client.get("/metrics").text
    assert 'sightline_http_requests_total{method="GET",route="/api/photos/{photo_id}",status="404"}' in text
    assert 'route="/static"' in text and 'method="other"' in text and "nowhere" not in text
    assert "sightline_http_request_duration_seconds_bucket" in text
    assert "sightline_photos 11.0" in text
    assert "sightline_index_generation" in text


def test_two_apps_keep_their_own_figures(sample_home: Home) -> None:
    one, other = (TestClient(create_app(sample_home), base_url="http://localhost") for _ in range(2))
    one.get("/nowhere")
    assert 'status="404"' not in other.get("/metrics").text


def test_the_server_may_start_before_the_index(tmp_path: Path, sample_photos: Path) -> None:
    home = Home(tmp_path / "home")
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(sample_photos / "rocket.jpg", photos)
    with TestClient(create_app(home), base_url="http://localhost") as client:
        assert client.get("/").status_code == client.get("/healthz").status_code == 200
        assert client.get("/metrics").status_code == 200
        for path in ("/api/search", "/api/status", "/readyz", f"/api/photos/{'0' * 32}"):
            document = assert_problem(client.get(path), 503)
            assert document["type"] == NO_INDEX
            assert "sightline index" in document["detail"]
        assert_problem(client.post("/api/search", files={"image": b"x"}), 503)
        assert not home.path.exists()  # asking makes nothing

        run_index(home, [photos], IndexOptions(model="starter", captions="off"), Silent())
        assert client.get("/api/search", params={"q": "a rocket"}).json()["total"] == 1
        assert client.get("/readyz").status_code == 200

        shutil.copy(sample_photos / "coffee.png", photos)
        run_index(home, [photos], IndexOptions(), Silent())
        assert client.get("/api/search", params={"q": "a rocket"}).json()["total"] == 2


def test_an_index_of_nothing_answers_with_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    (tmp_path / "photos").mkdir()
    run_index(home, [tmp_path / "photos"], IndexOptions(model="starter", captions="off"), Silent())
    client = TestClient(create_app(home), base_url="http://localhost")
    assert client.get("/readyz").status_code == 200
    for query in ("", "a dog"):
        assert client.get("/api/search", params={"q": query}).json()["total"] == 0
    assert client.get("/api/status").json()["photos"] == 0


def test_a_fault_of_ours_is_a_problem_document_too(
    sample_home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: Engine) -> None:
        raise RuntimeError("a secret path")

    monkeypatch.setattr(Engine, "status", broken)
    client = TestClient(create_app(sample_home), base_url="http://localhost")
    response = client.get("/api/status")
    assert "secret" not in assert_problem(response, 500)["detail"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "a secret path" in caplog.text  # told to the log alone


def test_texts_travel_compressed_and_pictures_as_they_are(client: TestClient, hits: dict[str, dict[str, Any]]) -> None:
    photo = f"/api/photos/{hits['ihc.png']['id']}"
    for path in ("/", "/static/js/main.js", "/api/search", "/openapi.json"):
        assert client.get(path).headers.get("content-encoding") == "gzip", path
        assert "content-encoding" not in client.get(path, headers={"Accept-Encoding": "identity"}).headers
    for path in (f"{photo}/thumb", f"{photo}/file"):
        assert "content-encoding" not in client.get(path).headers, path
