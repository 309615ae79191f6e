"""Nodes: servers that keep nothing, and answer from one collection in Milvus."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from milvus_lite_server import MilvusLite, free_port
from problem_checks import assert_problem
from support import picture

from indexer.report import IndexOptions
from indexer.run import run_index
from search.home import Home
from search.milvus.address import Address
from search.ranking_settings import RankingSettings
from web.access import EngineAccess
from web.app import create_app
from web.documents.jobs import StatusEvent
from web.documents.photos import PhotoDocument
from web.documents.searching import SearchAnswer
from web.documents.service import Status
from web.problems import NO_INDEX, NOT_HERE
from web.settings import ServerSettings
from web.watching import NodeWatch

ID = "0" * 32


@pytest.fixture(scope="module")
def address(milvus: MilvusLite) -> Address:
    return milvus.address()


@pytest.fixture(scope="module")
def indexed(sample_home: Home, address: Address, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home that keeps its vectors in Milvus."""
    home = Home(tmp_path_factory.mktemp("indexed") / "home")
    shutil.copytree(sample_home.path, home.path)
    report = run_index(home, [], IndexOptions(captions="off", vectors=str(address)))
    assert report.waits == [] and "publish" in report.stages
    return home


@pytest.fixture(scope="module")
def nodes(indexed: Home, address: Address, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[TestClient]]:
    """Two nodes, each in an empty home."""
    pytest.MonkeyPatch().setattr("search.milvus.engine._FRESH_SECONDS", 0.0)
    homes = [Home(tmp_path_factory.mktemp("node") / "home") for _ in range(2)]
    apps = [create_app(home, ServerSettings(vectors=address)) for home in homes]
    first, second = (TestClient(app, base_url="http://127.0.0.1:8000") for app in apps)
    with first, second:
        yield [first, second]


def test_nodes_answer_as_the_home_does(client: TestClient, nodes: list[TestClient]) -> None:
    for parameters in ({"q": "a cat"}, {"q": ""}, {"q": "type:jpg", "facets": True}, {"q": "rocket", "mode": "words"}):
        ours = client.get("/api/search", params=parameters).json()
        assert ours["hits"]
        for node in nodes:
            theirs = node.get("/api/search", params=parameters).json()
            SearchAnswer.model_validate(theirs)
            for one, other in zip(theirs["hits"], ours["hits"], strict=True):
                assert {**one, "why": [], "score": None} == {**other, "why": [], "score": None}
            assert (theirs["total"], theirs.get("facets")) == (ours["total"], ours.get("facets"))


def test_a_photo_its_file_and_its_thumbnail_are_there(client: TestClient, nodes: list[TestClient]) -> None:
    for hit in client.get("/api/search").json()["hits"][:3]:
        path = f"/api/photos/{hit['id']}"
        for node in nodes:
            PhotoDocument.model_validate(node.get(path).json())
            assert node.get(path).json() == client.get(path).json()
            assert node.get(f"{path}/file").content == client.get(f"{path}/file").content
            assert node.get(f"{path}/thumb").headers["content-type"] == "image/webp"
    similar = nodes[0].get(f"{path}/similar").json()
    assert [one["id"] for one in similar["hits"]] == [one["id"] for one in client.get(f"{path}/similar").json()["hits"]]
    why, ours = (one.get(f"{path}/why", params={"q": "a cat"}).json() for one in (nodes[0], client))
    assert why["similarity"] == pytest.approx(ours["similarity"], abs=1e-3)


def test_a_picture_finds_itself(nodes: list[TestClient], sample_photos: Path) -> None:
    file = next(sample_photos.glob("coffee*"))
    with open(file, "rb") as content:
        answer = nodes[1].post("/api/search", files={"image": content}).json()
    assert Path(answer["hits"][0]["path"]).name == file.name


def test_status_readiness_and_figures(nodes: list[TestClient], address: Address) -> None:
    for node in nodes:
        status = Status.model_validate(node.get("/api/status").json())
        assert (status.home, status.photos, status.model, status.jobs) == (str(address), 11, "starter", [])
        assert node.get("/readyz").json() == {"status": "ready"} and node.get("/healthz").status_code == 200
        assert "sightline_photos 11.0" in node.get("/metrics").text
        assert node.get("/").status_code == 200


def test_listeners_hear_that_it_is_a_node(indexed: Home, address: Address) -> None:
    access = EngineAccess(Home(Path("nowhere")), RankingSettings.read(), address)
    state = NodeWatch(access).look()
    access.close()
    told = StatusEvent.model_validate(state.status)
    assert (told.photos, told.node, told.detail, state.job) == (11, True, None, None)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/jobs", None),
        ("GET", "/api/jobs/1", None),
        ("POST", "/api/jobs", {"kind": "index"}),
        ("DELETE", "/api/jobs/1", None),
        ("GET", "/api/failures", None),
        ("GET", "/api/models", None),
        ("GET", "/api/duplicates", None),
        ("POST", "/api/duplicates/dismissals", {"photos": [ID, "1" * 32]}),
        ("DELETE", "/api/duplicates/dismissals", {"photos": [ID, "1" * 32]}),
        ("POST", "/api/searches", {"name": "a", "q": "b"}),
        ("PUT", "/api/searches/1", {"name": "a"}),
        ("DELETE", "/api/searches/1", None),
        ("PUT", f"/api/photos/{ID}/caption", {"caption": "mine"}),
    ],
)
def test_what_needs_the_catalog_is_one_clear_problem(
    nodes: list[TestClient], method: str, path: str, body: dict[str, Any] | None
) -> None:
    problem = assert_problem(nodes[0].request(method, path, json=body), 501)
    assert problem["type"] == NOT_HERE and "where the photos are indexed" in problem["detail"]


def test_saved_searches_are_none(nodes: list[TestClient]) -> None:
    assert nodes[0].get("/api/searches").json() == {"searches": []}
    assert nodes[0].get("/api/suggest", params={"q": "cam", "limit": 3}).status_code == 200


def test_nodes_see_photos_that_are_indexed_meanwhile(nodes: list[TestClient], indexed: Home, tmp_path: Path) -> None:
    folder = tmp_path / "more"
    folder.mkdir()
    picture(folder / "new-arrival.jpg", 5)
    run_index(indexed, [folder], IndexOptions(captions="off"))
    for node in nodes:
        assert node.get("/api/status").json()["photos"] == 12
        found = node.get("/api/search", params={"q": "arrival", "mode": "words"}).json()["hits"]
        assert [Path(hit["path"]).name for hit in found] == ["new-arrival.jpg"]
    (folder / "new-arrival.jpg").unlink()
    run_index(indexed, [folder], IndexOptions(captions="off", confirm_removals=True))
    for node in nodes:
        assert node.get("/api/status").json()["photos"] == 11
        assert node.get("/api/search", params={"q": "arrival", "mode": "words"}).json()["hits"] == []


def test_without_its_server_a_node_says_so(tmp_path: Path) -> None:
    settings = ServerSettings(vectors=Address(f"http://127.0.0.1:{free_port()}"))
    node = TestClient(create_app(Home(tmp_path), settings), base_url="http://localhost")
    for path in ("/readyz", "/api/search", "/api/status"):
        problem = assert_problem(node.get(path), 503)
        assert "does not answer" in problem["detail"]
    assert node.get("/healthz").status_code == 200


def test_a_node_may_be_there_before_the_collection(tmp_path: Path, milvus: MilvusLite) -> None:
    app = create_app(Home(tmp_path), ServerSettings(vectors=milvus.address()))
    problem = assert_problem(TestClient(app, base_url="http://localhost").get("/readyz"), 503)
    assert problem["type"] == NO_INDEX and "sightline index PATH --vectors milvus:" in problem["detail"]
