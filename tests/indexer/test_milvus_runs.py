"""Runs of a home that keeps its vectors in Milvus, and the commands on it."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from milvus_lite_server import MilvusLite, free_port
from support import picture
from typer.testing import CliRunner

import sightline
from indexer.report import IndexOptions
from indexer.run import run_index
from search.answer import Request
from search.catalog import jobs, model_records
from search.catalog.connection import connect_to_read
from search.engine import Engine
from search.errors import SettingsError
from search.home import Home
from search.milvus.engine import CollectionEngine
from search.vectors import generations
from search.vectors.flat import FlatIndex
from search.vectors.milvus import MilvusIndex

pytestmark = pytest.mark.usefixtures("loaded_once")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        picture(folder / f"harbour-{number}.jpg", number)
    return folder


def generation(home: Home) -> generations.Generation:
    with closing(connect_to_read(home)) as connection:
        model = model_records.active(connection)
        assert model is not None
        found = generations.newest(connection, model.key)
    assert found is not None
    return found


def test_a_run_brings_photos_to_milvus_and_the_next_one_has_nothing_to_do(
    home: Home, photos: Path, milvus: MilvusLite
) -> None:
    address = milvus.address()
    run_index(home, [photos], IndexOptions(model="starter", captions="off", vectors=str(address)))
    first = generation(home)
    assert generations.is_remote(first) and first.photos == 6
    assert not list(home.vectors_dir.glob("*/index.faiss"))
    with Engine.open(home) as engine, CollectionEngine.open(address) as node:
        assert isinstance(engine._now(engine._connection()).base, MilvusIndex)
        ours, theirs = (one.search(Request("a boat", mode="meaning", include_all=True)) for one in (engine, node))
        assert [hit.id for hit in theirs.hits] == [hit.id for hit in ours.hits] and len(theirs.hits) == 6
    run_index(home)
    assert generation(home) == first
    (photos / "harbour-0.jpg").unlink()
    run_index(home, [], IndexOptions(confirm_removals=True))
    with CollectionEngine.open(address) as node:
        assert node.search(Request()).total == 5


def test_a_server_that_is_away_costs_the_run_nothing(home: Home, photos: Path, milvus: MilvusLite) -> None:
    address = milvus.address()
    report = run_index(
        home, [photos], IndexOptions(model="starter", captions="off", vectors=f"milvus:http://127.0.0.1:{free_port()}")
    )
    assert report.embedded == 6 and len(report.waits) == 1
    assert "does not answer" in report.waits[0] and "the next run brings them there" in report.waits[0]
    with closing(connect_to_read(home)) as connection:
        assert jobs.recent(home, connection, 1)[0]["state"] == "done"
    with Engine.open(home) as engine:
        assert engine.search(Request("harbour", mode="words")).total == 6
        assert engine.search(Request("a boat", mode="meaning", include_all=True)).total == 6
    assert run_index(home, [], IndexOptions(vectors=str(address))).waits == []
    with CollectionEngine.open(address) as node:
        assert node.search(Request()).total == 6


def test_vectors_come_back_beside_the_catalog(home: Home, photos: Path, milvus: MilvusLite) -> None:
    run_index(home, [photos], IndexOptions(model="starter", captions="off", vectors=milvus.vectors()))
    run_index(home, [], IndexOptions(vectors="faiss"))
    assert not generations.is_remote(generation(home))
    with Engine.open(home) as engine:
        assert isinstance(engine._now(engine._connection()).base, FlatIndex)
        assert engine.search(Request("a boat", mode="meaning", include_all=True)).total == 6


def test_commands_are_the_same_with_milvus(home: Home, photos: Path, milvus: MilvusLite) -> None:
    vectors = milvus.vectors()

    def run(*arguments: str, status: int = 0) -> str:
        done = CliRunner().invoke(sightline.app, [*arguments])
        assert done.exit_code == status, done.output
        return done.stdout

    at_home = ("--home", str(home.path))
    run("index", str(photos), "--model", "starter", "--captions", "off", "--vectors", vectors, *at_home, "--json")
    ours = json.loads(run("search", "a boat", "--mode", "meaning", "--all", *at_home, "--json"))
    theirs = json.loads(run("search", "a boat", "--mode", "meaning", "--all", "--vectors", vectors, "--json"))
    assert [hit["path"] for hit in ours["hits"]] == [hit["path"] for hit in theirs["hits"]]
    assert json.loads(run("status", *at_home, "--json"))["vectors"] == {
        "photos": 6, "exact": True, "compared": 6, "recall": None,
    }  # fmt: skip
    assert json.loads(run("verify", *at_home, "--json"))["ok"]
    run("index", "--vectors", "qdrant:x", *at_home, status=2)
    run("serve", "--vectors", vectors, "--watch", status=2)
    missing = json.loads(run("search", "x", "--vectors", milvus.vectors(), "--json", status=1))
    assert "There is no index at milvus:" in missing["error"]


def test_an_address_that_cannot_be_is_refused_before_anything_is_done(home: Home, photos: Path) -> None:
    with pytest.raises(SettingsError):
        run_index(home, [photos], IndexOptions(vectors="milvus:ftp://x"))
    assert not home.path.exists()
