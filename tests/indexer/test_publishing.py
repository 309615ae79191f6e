"""When runs publish, and what they ask of the index, with the real model over a few photos."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from repairs import kinds, repaired
from support import picture

from indexer.progress import Silent
from indexer.publishing import recall
from indexer.report import IndexOptions, IndexReport
from indexer.run import run_index
from indexer.verify.run import verify
from search.catalog import model_records, settings
from search.catalog.connection import connect_to_read, connect_to_write
from search.home import Home
from search.status import status
from search.vectors import generations

pytestmark = pytest.mark.usefixtures("loaded_once")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(24):
        picture(folder / f"{number}.jpg", number)
    return folder


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if these were many."""
    monkeypatch.setattr(generations, "EXACT_UP_TO", 10)


def index(home: Home, *folders: Path, progress: Any = None, **options: Any) -> IndexReport:
    return run_index(home, folders, IndexOptions(model="starter", captions="off", **options), progress)


def searched(home: Home) -> dict[str, Any]:
    with closing(connect_to_read(home)) as connection:
        found = status(home, connection)
    return {"generation": found["generation"], **found["vectors"]}


@pytest.mark.usefixtures("small")
def test_recall_is_remembered_and_published_for(home: Home, photos: Path) -> None:
    index(home, photos)
    first = searched(home)
    assert not first["exact"] and set(first["recall"]) == {"photos", "texts"} and first["photos"] == 24
    index(home)
    assert searched(home) == first  # it is as wanted
    index(home, recall=1.0)
    exact = searched(home)
    assert exact["exact"] and exact["recall"] is None and exact["compared"] == 24
    index(home)
    assert searched(home) == exact  # the home remembers it
    index(home, recall=0.9)
    assert not searched(home)["exact"]
    with closing(connect_to_write(home)) as connection:
        assert recall(connection) == 0.9
        for wrong in ("much", "nan", "-1", "7"):
            settings.put(connection, "recall", wrong)
            assert recall(connection) == 0.98


def test_an_index_that_is_lost_is_published_again_by_the_next_run(home: Home, photos: Path) -> None:
    index(home, photos)
    before = searched(home)
    for file in home.vectors_dir.rglob("keys.npy"):
        file.unlink()
    index(home)
    assert searched(home)["generation"] > before["generation"]
    shutil.rmtree(home.vectors_dir)
    index(home)
    with closing(connect_to_read(home)) as connection:
        model = model_records.active(connection)
        assert model is not None and generations.open_generation(home, connection, model)[2] is not None


def test_a_run_that_publishes_in_between_goes_on_in_the_stage_that_embeds(
    home: Home, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages: list[str] = []
    done: list[tuple[str, int]] = []

    class Noted(Silent):
        def stage(self, name: str, total: int | None) -> None:
            stages.append(name)

        def advance(self, count: int, failed: int) -> None:
            done.append((stages[-1], count))

    monkeypatch.setattr("indexer.publishing._A_LONG_RUN", 5)
    monkeypatch.setattr("indexer.record.GROUP_FILES", 4)
    index(home, photos, batch_size=4, progress=Noted())
    assert searched(home)["generation"] > 1
    assert stages.count("embed") == 1 and [count for stage, count in done if stage == "embed"][-1] == 24


@pytest.mark.usefixtures("small")
def test_a_repair_publishes_what_the_home_asks_for(home: Home, photos: Path) -> None:
    index(home, photos, recall=1.0)
    for file in home.vectors_dir.rglob("index.faiss"):
        file.write_bytes(b"damaged")
    repaired(home)
    assert searched(home)["exact"]


@pytest.mark.usefixtures("small")
def test_an_approximate_index_is_verified_as_a_whole(home: Home, photos: Path) -> None:
    index(home, photos)
    assert not verify(home).problems
    (file,) = home.vectors_dir.rglob("inverted.faiss")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert kinds(verify(home)) == {"generation"}
    repaired(home)
    assert not searched(home)["exact"]
