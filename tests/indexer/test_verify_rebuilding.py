"""A catalog that cannot be relied on is replaced by what can be read of it: nothing is lost on the way."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from catalogs import put

from indexer.restore import restore
from indexer.salvage.rescue import Rescued
from indexer.verify import rebuilding
from indexer.verify.run import verify
from search.catalog import editing
from search.catalog.backup import back_up
from search.catalog.connection import connect_to_read, connect_to_write
from search.errors import CatalogError, SightlineError
from search.home import Home


def with_log(home: Home, *captions: str, photos: int = 3) -> None:
    """Make a catalog of some photos, and leave one's own captions of the first in the log alone, as a killed run
    does."""
    with closing(connect_to_write(home)) as connection, connection:
        for number in range(photos):
            put(connection, f"{number}.jpg")
    with closing(connect_to_read(home)):
        for text in captions:
            editing.put_caption(home, f"{0:032}", text)
        kept = {suffix: Path(f"{home.catalog_path}{suffix}").read_bytes() for suffix in ("", "-wal")}
    for suffix, content in kept.items():
        Path(f"{home.catalog_path}{suffix}").write_bytes(content)
    Path(f"{home.catalog_path}-shm").unlink(missing_ok=True)


def captions(home: Home) -> list[str]:
    with closing(connect_to_read(home)) as connection:
        return [row[0] for row in connection.execute("SELECT text FROM captions ORDER BY photo_key")]


KILLED = """
import os, shutil, signal, sys, filelock, sqlite_utils
from pathlib import Path
from indexer.restore import restore
from indexer.verify.run import verify
from search.home import Home
template, work = map(Path, sys.argv[1:])
for killed_at in range(1000):
    home = Home(work / str(killed_at))
    shutil.copytree(template, home.path)
    child = os.fork()
    if not child:
        left = killed_at
        def hook(event, arguments):
            global left
            if event in ("os.rename", "os.link", "os.remove") and "catalog" in str(arguments[0]):
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        verify(home, repair=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(home.path, status, flush=True)
    if status == 0:
        break
"""


def test_a_repair_that_is_killed_at_any_step_loses_nothing_of_the_log(home: Home, tmp_path: Path) -> None:
    with_log(home, "only in the log")
    with open(home.catalog_path, "r+b") as file:
        file.write(bytes(100))  # cannot be opened any more, not even for bringing the log into it
    (tmp_path / "work").mkdir()
    arguments = [sys.executable, "-c", KILLED, home.path, tmp_path / "work"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    places = [Home(Path(line.split()[0])) for line in done.stdout.splitlines()]
    assert len(places) > 6
    for place in places:
        if place is not places[-1] and not place.catalog_path.read_bytes().startswith(b"SQLite"):
            with pytest.raises(CatalogError):  # nothing is said of a catalog that lacks its log
                editing.put_caption(place, f"{1:032}", "meanwhile")
        assert verify(place, repair=True).ok
        assert captions(place) == ["only in the log"], place
        assert not list(place.path.glob("*.moving")) and not list(place.path.glob(".restoring-*"))
        kept = {path.name.partition(".db")[0] for path in place.path.glob("catalog-damaged-*")}
        assert len(kept) == 1 and len(list(place.path.glob("catalog-damaged-*.db-wal"))) == 1


def test_where_the_new_catalog_cannot_take_its_place_the_old_one_has_its_log_again(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_log(home, "only in the log")
    with open(home.catalog_path, "r+b") as file:
        file.write(bytes(100))
    before = Path(f"{home.catalog_path}-wal").read_bytes()

    def fails(source: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("search.catalog.replacing.os.replace", fails)
        with pytest.raises(SightlineError, match="as it was"):
            verify(home, repair=True)
    assert Path(f"{home.catalog_path}-wal").read_bytes() == before
    assert verify(home, repair=True).ok and captions(home) == ["only in the log"]


def test_a_link_hides_no_log(home: Home, tmp_path: Path) -> None:
    """SQLite looks for a log where the link leads."""
    with_log(home, "only in the log")
    real = tmp_path / "elsewhere"
    real.mkdir()
    for path in home.path.glob("catalog.db*"):
        path.rename(real / path.name)
    (tmp_path / "link.db").symlink_to(real / "catalog.db")
    home.catalog_path.symlink_to(real / "catalog.db")
    other = Home(tmp_path / "other")
    restore(other, tmp_path / "link.db")
    assert captions(other) == ["only in the log"]

    with open(real / "catalog.db", "r+b") as file:
        file.write(bytes(100))
    found = verify(home, repair=True)
    assert found.ok and found.rebuilt is not None and found.rebuilt.kept is not None
    assert captions(home) == ["only in the log"] and home.catalog_path.is_symlink()
    assert not found.rebuilt.kept.is_symlink() and found.rebuilt.kept.read_bytes()[:100] == bytes(100)
    assert Path(f"{found.rebuilt.kept}-wal").stat().st_size

    back_up(home, tmp_path / "backup.db")
    editing.put_caption(home, f"{0:032}", "later")
    done = restore(home, tmp_path / "backup.db", replace=True)
    assert captions(home) == ["only in the log"] and home.catalog_path.is_symlink()
    assert done.kept is not None and not done.kept.is_symlink()
    restore(home, done.kept, replace=True)
    assert captions(home) == ["later"]
    assert {path.name for path in real.iterdir() if path.stat().st_size} <= {"catalog.db", "catalog.db-shm"}


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="there is no disk in memory here")
def test_the_catalog_that_a_link_leads_to_may_lie_on_another_disk(home: Home) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        if Path(folder).stat().st_dev == home.path.parent.stat().st_dev:
            pytest.skip("there is no other disk here")
        with_log(home, "only in the log")
        for path in home.path.glob("catalog.db*"):
            shutil.move(path, folder)
        home.catalog_path.symlink_to(Path(folder) / "catalog.db")
        with open(home.catalog_path, "r+b") as file:
            file.write(bytes(100))
        found = verify(home, repair=True)
        assert found.ok and captions(home) == ["only in the log"] and home.catalog_path.is_symlink()
        assert len(list(home.path.glob("catalog-damaged-*.db-wal"))) == 1


def beside_the_log_of_another(home: Home, tmp_path: Path) -> bytes:
    """Make a catalog of 300 photos, beside which lies the log of another; returns that log."""
    other = Home(tmp_path / "other")
    with_log(other)
    with closing(connect_to_read(other)), closing(connect_to_write(other)) as writer:
        with writer:
            for number in range(100, 140):
                put(writer, f"{number} with a name that takes some room.jpg", tags=("a", "b", "c"))
        foreign = Path(f"{other.catalog_path}-wal").read_bytes()
    with_log(home, photos=300)
    editing.put_caption(home, f"{0:032}", "mine")
    editing.dismiss(home, [f"{0:032}", f"{1:032}"])
    with closing(connect_to_write(home)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    Path(f"{home.catalog_path}-wal").write_bytes(foreign)
    Path(f"{home.catalog_path}-shm").unlink(missing_ok=True)
    return foreign


def test_a_log_of_another_catalog_is_not_written_into_this_one(home: Home, tmp_path: Path) -> None:
    foreign = beside_the_log_of_another(home, tmp_path)
    whole = home.catalog_path.read_bytes()
    assert not verify(home).ok
    found = verify(home, repair=True)
    assert found.ok and found.rebuilt is not None and found.rebuilt.kept is not None and not found.rebuilt.rescued.lost
    assert captions(home) == ["mine"] and verify(home).problems == []
    with closing(connect_to_read(home)) as connection:
        assert connection.execute("SELECT count(*) FROM photos").fetchone() == (300,)
        assert connection.execute("SELECT * FROM dismissals").fetchall() == [(1, 2)]
    kept = found.rebuilt.kept
    assert any("another catalog" in note and f"{kept}-wal" in note for note in found.notes)
    assert "Nothing of it is known to be lost." not in found.notes
    assert (kept.read_bytes(), Path(f"{kept}-wal").read_bytes()) == (whole, foreign)


def test_what_is_said_while_a_log_of_another_catalog_is_left_behind_is_said_of_the_new_one(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_log(home)
    other = Home(tmp_path / "other")
    shutil.copytree(home.path, other.path)
    with closing(sqlite3.connect(other.catalog_path)) as writer:
        with writer:
            writer.execute("UPDATE photos SET height = 5 WHERE key = 3")
        foreign = Path(f"{other.catalog_path}-wal").read_bytes()
    with closing(sqlite3.connect(home.catalog_path)) as writer, writer:
        writer.execute("UPDATE photos SET id = ? WHERE key = 3", ("f" * 32,))
    Path(f"{home.catalog_path}-wal").write_bytes(foreign)  # with which it can be opened
    waiting = threading.Thread(target=editing.put_caption, args=(home, f"{1:032}", "meanwhile"))
    really = rebuilding.rescue

    def rescued(*arguments: Any, **named: Any) -> Rescued | None:
        saved = really(*arguments, **named)
        waiting.start()
        waiting.join(0.3)  # it has opened the old catalog, and waits for its lock
        return saved

    monkeypatch.setattr(rebuilding, "rescue", rescued)
    found = verify(home, repair=True)
    waiting.join()
    assert found.ok and found.rebuilt is not None and not found.rebuilt.with_log
    assert Path(f"{found.rebuilt.kept}-wal").read_bytes() == foreign
    assert captions(home) == ["meanwhile"]


@pytest.mark.parametrize("place", [20, 32 + 3, 32 + 10, 32 + 24 + 1000], ids=["head", "frame", "salt", "page"])
def test_commits_of_a_damaged_log_are_said_to_be_lost_and_kept(home: Home, place: int) -> None:
    with_log(home, "one", "two", "three")
    log = Path(f"{home.catalog_path}-wal")
    content = bytearray(log.read_bytes())
    content[place] ^= 1
    log.write_bytes(content)
    (found,) = (problem for problem in verify(home).problems if problem.kind == "log")
    assert "log is damaged" in found.what and "power" not in found.what
    done = verify(home, repair=True)
    assert done.ok and "log" in {problem.kind for problem in done.problems}
    (kept,) = home.path.glob("catalog-damaged-*.db-wal")
    assert kept.read_bytes() == bytes(content) and any(str(kept)[:-4] in note for note in done.notes)
    assert "log" not in {problem.kind for problem in verify(home, repair=True).problems}
    assert len(list(home.path.glob("catalog-damaged-*.db-wal"))) == 1


def test_what_an_earlier_round_has_left_in_a_log_is_not_taken_for_commits_that_are_lost(home: Home) -> None:
    with_log(home, *(f"text {number}" for number in range(9)))
    with closing(connect_to_read(home)), closing(connect_to_write(home)) as writer:
        writer.execute("PRAGMA wal_checkpoint(RESTART)")
        with writer:
            writer.execute("UPDATE captions SET text = 'the newest'")
        assert Path(f"{home.catalog_path}-wal").stat().st_size > 9 * 4096  # frames of the round before are behind it
        assert "log" not in {problem.kind for problem in verify(home).problems}
        content = bytearray(Path(f"{home.catalog_path}-wal").read_bytes())
    content[32 + 24 + 100] ^= 1
    Path(f"{home.catalog_path}-wal").write_bytes(content)
    (found,) = (problem for problem in verify(home).problems if problem.kind == "log")
    assert "1 commit " in found.what and "If the power failed" in found.what


def test_a_trigger_that_is_not_the_catalogs_own_is_found_and_does_not_outlive_a_repair(home: Home) -> None:
    with_log(home, "mine")
    with closing(sqlite3.connect(home.catalog_path)) as connection, connection:
        connection.execute("CREATE TRIGGER bad AFTER UPDATE ON settings BEGIN DELETE FROM captions; END")
    assert any("bad" in problem.what for problem in verify(home).problems)
    assert verify(home, repair=True).ok and captions(home) == ["mine"]
    assert not verify(home).problems


FOREIGN = (
    "CREATE VIEW mine AS SELECT * FROM photos",
    "CREATE INDEX mine ON photos (camera)",
    'CREATE TRIGGER "photos" AFTER DELETE ON libraries BEGIN DELETE FROM captions; END',
)


@pytest.mark.parametrize("statement", FOREIGN, ids=["view", "index", "trigger"])
def test_what_another_program_has_made_is_dropped_in_place_and_no_commit_of_the_log_is_lost(
    home: Home, statement: str
) -> None:
    with_log(home)
    with closing(sqlite3.connect(home.catalog_path)) as connection:
        connection.execute(statement)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with closing(connect_to_read(home)):  # as a server has it open
        editing.put_caption(home, f"{0:032}", "only in the log")
        assert Path(f"{home.catalog_path}-wal").stat().st_size
        assert "catalog" in {problem.kind for problem in verify(home).problems}
        found = verify(home, repair=True)
    assert found.ok and found.rebuilt is None and verify(home).problems == []
    assert captions(home) == ["only in the log"]


@pytest.mark.parametrize("statement", [FOREIGN[1], "ALTER TABLE photos ADD COLUMN mine"], ids=["index", "column"])
@pytest.mark.parametrize("is_in_log", [True, False])
def test_a_strange_schema_does_not_make_a_log_another_catalogs(home: Home, statement: str, is_in_log: bool) -> None:
    with_log(home)
    with closing(connect_to_read(home)), closing(sqlite3.connect(home.catalog_path)) as connection:
        connection.execute(statement)
        if not is_in_log:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        editing.put_caption(home, f"{0:032}", "only in the log")
        assert Path(f"{home.catalog_path}-wal").stat().st_size
        found = verify(home, repair=True)
    assert found.ok and captions(home) == ["only in the log"]
    assert (found.rebuilt is not None) == statement.startswith("ALTER")


def folder(path: Path) -> None:
    path.mkdir()


def pipe(path: Path) -> None:
    os.mkfifo(path)


def link_to_nothing(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere.db"))


@pytest.mark.parametrize("put_there", [folder, pipe, link_to_nothing])
def test_what_lies_in_the_place_of_the_catalog_is_said(
    home: Home, tmp_path: Path, put_there: Callable[[Path], None]
) -> None:
    with_log(home)
    back_up(home, tmp_path / "backup.db")
    for path in home.path.glob("catalog.db*"):
        path.unlink()
    put_there(home.catalog_path)
    for with_vectors in (False, True):
        if with_vectors:
            home.vectors_dir.mkdir()
        for ask in (
            lambda: connect_to_read(home),
            lambda: connect_to_write(home),
            lambda: verify(home),
            lambda: verify(home, repair=True),
            lambda: restore(home, tmp_path / "backup.db", replace=True),
        ):
            with pytest.raises(
                CatalogError, match=r"(a folder|a link to .*elsewhere.db|no plain file).*[Mm]ove it away"
            ):
                ask()
    assert not (home.path / "elsewhere.db").exists()
