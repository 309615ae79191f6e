from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from support import picture

from indexer.read import read_photo
from indexer.report import IndexOptions, IndexReport
from indexer.run import run_index
from search.catalog import changes, failures
from search.catalog.connection import connect_to_read
from search.engine import Engine, Request
from search.errors import ModelError, SightlineError
from search.home import Home
from search.status import status
from search.vectors.generations import publish

pytestmark = pytest.mark.usefixtures("loaded_once")

STARTER = IndexOptions(model="starter", captions="off")
CONFIRMED = IndexOptions(confirm_removals=True)
COUNTS = ("added", "updated", "moved", "removed", "unchanged", "failed", "embedded")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten small photos, four of them in a folder inside."""
    folder = tmp_path / "photos"
    (folder / "inner").mkdir(parents=True)
    for number in range(10):
        picture(folder / ("inner" if number > 5 else ".") / f"{number}.jpg", number)
    return folder


def counts(report: IndexReport) -> dict[str, int]:
    """What a run did, but for tagging, which has tests of its own."""
    return {name: value for name, value in report.counts().items() if value and name != "tagged"}


def found(home: Home) -> set[str]:
    with Engine.open(home) as engine:
        listed = {hit.path for hit in engine.search(Request(limit=1000)).hits}
        ranked = {
            hit.path for hit in engine.search(Request("anything", mode="meaning", limit=1000, include_all=True)).hits
        }
    assert listed == ranked
    return ranked


def test_a_library_is_indexed_once_and_then_left_alone(home: Home, photos: Path) -> None:
    first = run_index(home, [photos], STARTER)
    assert counts(first) == {"added": 10, "embedded": 10} and first.photos_per_second > 0
    second = run_index(home)
    assert counts(second) == {"unchanged": 10} and "load" not in second.stages and "publish" not in second.stages
    assert len(found(home)) == 10


def test_changes_are_followed(home: Home, photos: Path) -> None:
    run_index(home, [photos], STARTER)
    picture(photos / "new.jpg", 100)
    picture(photos / "0.jpg", 101, size=(48, 64))
    os.rename(photos / "1.jpg", photos / "inner" / "one.jpg")
    os.remove(photos / "2.jpg")
    os.utime(photos / "3.jpg", (1, 1))
    shutil.copy(photos / "4.jpg", photos / "copy.jpg")
    report = run_index(home)
    assert counts(report) == {
        "added": 2, "updated": 1, "moved": 1, "removed": 1, "unchanged": 7, "embedded": 2,
    }  # fmt: skip
    paths = found(home)
    assert len(paths) == 10 and str(photos / "2.jpg") not in paths and str(photos / "inner" / "one.jpg") in paths
    assert counts(run_index(home)) == {"unchanged": 11}


@pytest.mark.parametrize("known_again", [True, False])
def test_a_renamed_library_keeps_every_embedding(home: Home, photos: Path, known_again: bool) -> None:
    run_index(home, [photos], STARTER)
    renamed = photos.with_name("renamed")
    photos.rename(renamed)
    if known_again:
        run_index(home)  # the folder is missing: nothing is forgotten
    report = run_index(home, [renamed])
    assert counts(report) == {"moved": 10}
    assert all(path.startswith(str(renamed)) for path in found(home))
    with closing(connect_to_read(home)) as connection:
        assert [library["path"] for library in status(home, connection)["libraries"]] == [str(renamed)]


def test_a_renamed_folder_inside_a_library_is_moved(home: Home, photos: Path) -> None:
    run_index(home, [photos], STARTER)
    (photos / "inner").rename(photos / "outer")
    assert counts(run_index(home)) == {"moved": 4, "unchanged": 6}


def test_a_photo_that_was_moved_and_copied_lies_in_both_places(home: Home, photos: Path) -> None:
    run_index(home, [photos], STARTER)
    (photos / "0.jpg").rename(photos / "moved.jpg")
    shutil.copy(photos / "moved.jpg", photos / "copied.jpg")
    assert counts(run_index(home)) == {"moved": 1, "added": 1, "unchanged": 9}
    with Engine.open(home) as engine:
        photo = engine.photo(engine.search(Request("moved", mode="words")).hits[0].id)
        assert photo is not None
        assert set(photo.paths) == {bytes(photos / name) for name in ("moved.jpg", "copied.jpg")}


def test_removed_photos_leave_every_answer_and_come_back_for_nothing(home: Home, photos: Path) -> None:
    run_index(home, [photos], STARTER)
    with Engine.open(home) as engine:
        hits = engine.search(Request(limit=100)).hits
        like = next(hit.id for hit in hits if "/inner/" not in hit.path)
        aside = photos.with_name("aside")
        (photos / "inner").rename(aside)
        assert counts(run_index(home, [], CONFIRMED)) == {"removed": 4, "unchanged": 6}
        assert len(engine.search(Request("anything", limit=100, include_all=True)).hits) == 6  # the same engine sees it
        assert engine.search(Request(like=(like,), limit=100)).total == 5
        aside.rename(photos / "inner")
        assert counts(run_index(home)) == {"added": 4, "unchanged": 6}
        assert len(engine.search(Request("anything", limit=100, include_all=True)).hits) == 10


def test_orphans_are_forgotten_after_their_time(home: Home, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_index(home, [photos], STARTER)
    shutil.rmtree(photos / "inner")
    run_index(home, [], CONFIRMED)
    monkeypatch.setattr(changes, "GRACE", -changes.GRACE)
    run_index(home)
    with closing(connect_to_read(home)) as connection:
        assert connection.execute("SELECT count(*) FROM photos").fetchone()[0] == 6
        assert connection.execute("SELECT count(*) FROM embeddings").fetchone()[0] == 6
    assert len(found(home)) == 6


def test_what_cannot_be_read_is_said_and_the_rest_is_found(home: Home, photos: Path) -> None:
    (photos / "empty.jpg").touch()
    (photos / "text.png").write_text("no picture")
    (photos / "cut.jpg").write_bytes((photos / "0.jpg").read_bytes()[:300])
    (photos / "notes.txt").write_text("not looked at")
    picture(os.fsencode(photos) + b"/caf\xe9\nline.jpg", 50)
    os.mkfifo(photos / "pipe.jpg")
    os.symlink(photos, photos / "round")
    os.symlink(photos / "nowhere.jpg", photos / "dangling.jpg")
    os.symlink("self.jpg", photos / "self.jpg")
    os.symlink(photos / "0.jpg" / "x.jpg", photos / "through a file.jpg")
    os.symlink("x" * 300, photos / "too long.jpg")
    report = run_index(home, [photos], STARTER)
    assert counts(report) == {"added": 11, "failed": 3, "embedded": 11}
    with closing(connect_to_read(home)) as connection:
        reasons = {Path(failure["path"]).name: failure["reason"] for failure in failures.page(connection)}
    assert set(reasons) == {"empty.jpg", "text.png", "cut.jpg"} and reasons["empty.jpg"] == "it is empty"
    assert counts(run_index(home)) == {"unchanged": 11, "failed": 3}
    assert any("line.jpg" in path for path in found(home))
    picture(photos / "empty.jpg", 60)
    assert counts(run_index(home)) == {"added": 1, "unchanged": 11, "failed": 2, "embedded": 1}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_listed_keeps_what_is_known(home: Home, photos: Path) -> None:
    run_index(home, [photos], STARTER)
    (photos / "inner").chmod(0)
    try:
        assert counts(run_index(home)) == {"unchanged": 6}
    finally:
        (photos / "inner").chmod(0o755)
    assert len(found(home)) == 10


def test_links_to_folders_are_followed_once(home: Home, photos: Path) -> None:
    elsewhere = photos.with_name("elsewhere")
    elsewhere.mkdir()
    picture(elsewhere / "far.jpg", 70)
    os.symlink(elsewhere, photos / "link")
    os.symlink(elsewhere, photos / "link again")
    assert counts(run_index(home, [photos], STARTER)) == {"added": 11, "embedded": 11}
    assert counts(run_index(home)) == {"unchanged": 11}


def test_hidden_folders_and_the_home_itself_are_not_entered(tmp_path: Path) -> None:
    folder = tmp_path / "all"
    for name in ("home", ".trash", "@eaDir", "seen"):
        (folder / name).mkdir(parents=True)
        picture(folder / name / "a.jpg", len(name))
    picture(folder / ".hidden.jpg", 9)
    assert counts(run_index(Home(folder / "home"), [folder], STARTER)) == {"added": 1, "embedded": 1}


def test_nested_libraries_become_one(home: Home, photos: Path) -> None:
    run_index(home, [photos / "inner"], STARTER)
    assert counts(run_index(home, [photos])) == {"added": 6, "unchanged": 4, "embedded": 6}
    assert counts(run_index(home, [photos / "inner"])) == {"unchanged": 4}
    with closing(connect_to_read(home)) as connection:
        assert [library["path"] for library in status(home, connection)["libraries"]] == [str(photos)]


def test_another_model_embeds_every_photo_anew(home: Home, photos: Path, tiny_checkpoint: Callable[..., str]) -> None:
    run_index(home, [photos], STARTER)
    name = tiny_checkpoint()
    report = run_index(home, options=IndexOptions(model=name, captions="off"))
    assert counts(report) == {"unchanged": 10, "embedded": 10} and report.model == name
    assert counts(run_index(home)) == {"unchanged": 10}  # the home remembers
    with Engine.open(home) as engine:
        answer = engine.search(Request("anything", mode="meaning", limit=100, include_all=True))
        assert answer.model == name and len(answer.hits) == 10


def test_replaced_weights_are_noticed(home: Home, photos: Path, tiny_checkpoint: Callable[..., str]) -> None:
    name = tiny_checkpoint(seed=0)
    run_index(home, [photos], IndexOptions(model=name, captions="off"))
    assert tiny_checkpoint(seed=1) == name
    with Engine.open(home) as engine, pytest.raises(ModelError, match="other weights"):
        engine.search(Request("anything", mode="meaning"))
    assert counts(run_index(home)) == {"unchanged": 10, "embedded": 10}
    assert len(found(home)) == 10


@pytest.mark.parametrize("wrong", ["missing", "file.jpg"])
def test_a_folder_that_is_none_is_said(home: Home, tmp_path: Path, wrong: str) -> None:
    (tmp_path / "file.jpg").touch()
    with pytest.raises(SightlineError, match=wrong):
        run_index(home, [tmp_path / wrong], STARTER)
    with pytest.raises(SightlineError, match="name a folder"):
        run_index(home, [], STARTER)


def test_every_run_is_a_job(home: Home, photos: Path) -> None:
    run_index(home, [photos], STARTER)
    with pytest.raises(ModelError):
        run_index(home, [photos], IndexOptions(model="no-such-model"))
    with closing(connect_to_read(home)) as connection:
        last, first = status(home, connection)["jobs"]
    assert (first["state"], first["counts"]["added"]) == ("done", 10)
    assert last["state"] == "failed" and "no-such-model" in last["message"]


def test_a_full_disk_is_said_and_nothing_is_lost(home: Home, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_index(home, [photos], STARTER)
    picture(photos / "more.jpg", 80)

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(changes, "put_embedding", full)
        with pytest.raises(SightlineError, match=r"disk is full.*run it again"):
            run_index(home)
    assert len(found(home)) == 10
    assert counts(run_index(home)) == {"added": 1, "unchanged": 10, "embedded": 1}


def test_a_date_that_no_database_holds_stands_in_no_way(home: Home, photos: Path) -> None:
    os.utime(photos / "0.jpg", (1e10, 1e10))
    assert counts(run_index(home, [photos], STARTER)) == {"added": 10, "embedded": 10}
    assert counts(run_index(home)) == {"unchanged": 10}


def test_a_photo_that_was_overwritten_with_rubbish_leaves_every_answer(home: Home, photos: Path) -> None:
    run_index(home, [photos], STARTER)
    (photos / "0.jpg").write_bytes(b"rubbish")
    assert counts(run_index(home)) == {"failed": 1, "unchanged": 9}
    with Engine.open(home) as engine:
        answer = engine.search(Request("anything", limit=100, include_all=True))
        assert (answer.total, len(answer.hits), engine.status()["photos"]) == (9, 9, 9)
    (photos / "0.jpg").unlink()
    assert counts(run_index(home)) == {"removed": 1, "unchanged": 9}


def test_what_was_deleted_while_its_library_was_renamed_is_gone(home: Home, photos: Path) -> None:
    run_index(home, [photos], STARTER)
    renamed = photos.rename(photos.with_name("renamed"))
    (renamed / "0.jpg").unlink()
    assert counts(run_index(home, [renamed])) == {"moved": 9, "removed": 1}
    assert len(found(home)) == 9
    with Engine.open(home) as engine:
        assert [library["path"] for library in engine.status()["libraries"]] == [str(renamed)]


def test_a_file_that_could_not_be_opened_is_tried_again(
    home: Home, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: bytes) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("indexer.pipeline.whole_file", refused)
        assert counts(run_index(home, [photos], STARTER)) == {"failed": 10}
    assert counts(run_index(home)) == {"added": 10, "embedded": 10}


def test_folders_inside_one_another_are_scanned_once(home: Home, photos: Path) -> None:
    assert counts(run_index(home, [photos / "inner", photos, f"{photos}/inner/.."], STARTER)) == {
        "added": 10,
        "embedded": 10,
    }


def test_the_home_is_no_library(home: Home, photos: Path) -> None:
    run_index(home, [photos], STARTER)
    (home.path / "thumbnail.jpg").write_bytes((photos / "0.jpg").read_bytes())
    (photos / "link").symlink_to(home.path)
    assert counts(run_index(home)) == {"unchanged": 10}
    with pytest.raises(SightlineError, match="own home"):
        run_index(home, [home.path])


def test_another_model_leaves_an_absent_drive_to_later(
    home: Home, photos: Path, tmp_path: Path, tiny_checkpoint: Callable[..., str]
) -> None:
    drive = tmp_path / "drive"
    shutil.copytree(photos / "inner", drive)
    picture(drive / "only here.jpg", 99)
    run_index(home, [drive, photos], STARTER)  # the drive first, so that its copies are the first of each photo
    drive.rename(tmp_path / "unplugged")
    report = run_index(home, options=IndexOptions(model=tiny_checkpoint(), captions="off"))
    assert (report.embedded, report.unchanged) == (10, 10)
    assert "load" not in run_index(home).stages
    with Engine.open(home) as engine:
        for text in ("anything", "anything type:jpg"):
            answer = engine.search(Request(text, limit=100, include_all=True))
            assert answer.total == len(answer.hits) == 10


def test_a_folder_that_cannot_be_listed_is_left_alone_by_another_model(
    home: Home, photos: Path, tiny_checkpoint: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_index(home, [photos], STARTER)
    scandir = os.scandir

    def refused(path: bytes) -> Any:
        if os.fspath(path) == os.fsencode(photos / "inner"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("os.scandir", refused)
    assert counts(run_index(home, options=IndexOptions(model=tiny_checkpoint(), captions="off"))) == {
        "unchanged": 6,
        "embedded": 6,
    }
    monkeypatch.undo()
    assert counts(run_index(home)) == {"unchanged": 10, "embedded": 4}


def test_copies_of_what_lies_on_an_absent_drive_are_no_rename(home: Home, photos: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    run_index(home, [photos], STARTER)
    shutil.copytree(photos, copied, copy_function=shutil.copyfile)  # new files: they keep no date
    (copied / "0.jpg").unlink()
    photos.rename(tmp_path / "unplugged")
    report = run_index(home, [copied])
    assert (report.added, report.moved, report.removed) == (9, 0, 0)  # the drive may have them still
    (tmp_path / "unplugged").rename(photos)
    assert counts(run_index(home)) == {"unchanged": 19}


def test_what_could_not_be_read_is_not_counted_as_removed_by_a_rename(home: Home, photos: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"rubbish")
    run_index(home, [photos], STARTER)
    renamed = photos.rename(photos.with_name("renamed"))
    assert counts(run_index(home, [renamed])) == {"moved": 10, "failed": 1}
    assert counts(run_index(home)) == {"unchanged": 10, "failed": 1}


def test_a_run_that_fails_leaves_no_thread_at_work(home: Home, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "search.models.encoder.Encoder.embed_images", lambda self, batch: (_ for _ in ()).throw(RuntimeError("broken"))
    )
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="broken") as caught:
        run_index(home, [photos], STARTER)
    assert caught.value is not None  # and its traceback, which holds on to what the run was doing
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith(("read", "embed"))]
    assert torch.get_num_threads() == before
    monkeypatch.undo()
    with closing(connect_to_read(home)) as connection:
        assert status(home, connection)["jobs"][0]["state"] == "failed"
    assert counts(run_index(home)) == {"added": 10, "embedded": 10}


def test_photos_are_recorded_in_order_however_many_streams_embed_them(home: Home, photos: Path) -> None:
    for number in range(100, 140):
        picture(photos / f"{number}.jpg", number)
    options = IndexOptions(model="starter", captions="off", batch_size=3)
    assert counts(run_index(home, [photos], options)) == {"added": 50, "embedded": 50}
    with Engine.open(home) as engine:
        for hit in engine.search(Request("type:jpg", limit=100)).hits:
            best = engine.search(Request(images=(read_photo(hit.path),), limit=1)).hits[0]
            assert (best.id, round(best.score or 0, 2)) == (hit.id, 1.0)


def test_a_long_run_publishes_in_between(home: Home, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    covered: list[int] = []

    def noted(*arguments: Any) -> Any:
        generation = publish(*arguments)
        covered.append(generation.photos if generation else 0)
        return generation

    monkeypatch.setattr("search.vectors.generations.publish", noted)
    monkeypatch.setattr("indexer.publishing._A_LONG_RUN", 3)
    monkeypatch.setattr("indexer.record.GROUP_FILES", 4)
    run_index(home, [photos], IndexOptions(model="starter", captions="off", batch_size=1))
    assert len(covered) >= 2 and covered[-1] == 10
    assert len(found(home)) == 10
