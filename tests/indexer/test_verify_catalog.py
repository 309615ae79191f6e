"""What is wrong with the catalog's rows and with what they say of each other is found, and mended."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from faults.base import OPTIONS, Base, precious_of, rows_of
from repairs import ask, change, kinds, repaired

from indexer.lock import writer_lock
from indexer.progress import Silent
from indexer.run import run_index
from indexer.verify import links, rows, tags, vectors
from indexer.verify.findings import View
from indexer.verify.run import verify
from search.answer import Request
from search.catalog import jobs, settings, soundness
from search.catalog.connection import connect_to_read
from search.catalog.schema import VERSION
from search.engine import Engine
from search.errors import DamagedError, LockedError, MissingCatalogError, VersionError
from search.home import Home

pytestmark = pytest.mark.usefixtures("loaded_once")


def test_a_sound_home_has_no_problem_and_is_only_read(copy: Home) -> None:
    copy.catalog_path.with_name("catalog.db-shm").unlink(missing_ok=True)  # SQLite's, which reading makes anew

    def files() -> dict[Path, int]:
        every = (path for path in copy.path.rglob("*") if path.is_file() and path.suffix != ".db-shm")
        return {path: path.stat().st_mtime_ns for path in every if path.stat().st_size}

    before = files()
    found = verify(copy)
    assert found.ok and found.problems == [] and found.notes == []
    assert files() == before
    assert (found.checked["photos"], found.checked["files"], found.checked["embeddings"]) == (37, 39, 37)
    assert found.checked["generations"] == 2 and found.checked["words"] == 37
    assert found.to_json()["ok"] is True


def test_repairing_a_sound_home_changes_nothing_but_the_list_of_jobs(sound: Base, copy: Home) -> None:
    assert verify(copy, repair=True).problems == []
    assert rows_of(copy) == sound.rows
    with closing(connect_to_read(copy)) as connection:
        job = jobs.recent(copy, connection, 1)[0]
    assert (job["kind"], job["state"], job["counts"]) == ("repair", "done", {"problems": 0, "mended": 0})


def test_without_a_home_there_is_nothing_to_check(home: Home) -> None:
    for repair in (False, True):
        with pytest.raises(MissingCatalogError, match="no index"):
            verify(home, repair=repair)
    assert not home.path.exists()


def test_a_home_whose_catalog_is_gone_is_told_from_an_empty_one(copy: Home) -> None:
    copy.catalog_path.unlink()
    for repair in (False, True):
        found = verify(copy, repair=repair)
        assert [problem.mended for problem in found.problems] == [False]
        assert "sightline restore" in found.problems[0].what and copy.vectors_dir.is_dir()


CHANGES = [
    ("UPDATE photos SET width = 'wide' WHERE key = 3", "photos"),
    ("UPDATE photos SET id = 'z' || substr(id, 2) WHERE key = 4", "photos"),
    ("UPDATE photos SET taken_at = '2021-13-40T10:00:00' WHERE key = 6", "photos"),
    ("UPDATE photos SET sort_at = '1999-01-01T00:00:00' WHERE key = 7", "photos"),
    ("UPDATE photos SET camera = CAST(x'43ff6e' AS TEXT), preview = x'00' WHERE key IN (8, 9)", "photos"),
    ("UPDATE photos SET latitude = 1234.5 WHERE key = 10", "photos"),
    ("UPDATE photos SET added_at = 'yesterday' WHERE key = 11", "rows"),
    ("UPDATE photos SET kind = 'poem' WHERE key = 12", "rows"),
    ("UPDATE files SET size = -1 WHERE key = 13", "rows"),
    ("UPDATE files SET photo_key = NULL WHERE key = 14", "rows"),
    ("UPDATE files SET name = x'' WHERE key = 15", "rows"),
    ("UPDATE captions SET text = CAST(x'61ff62' AS TEXT) WHERE photo_key = 2", "rows"),
    ("UPDATE tags SET score = 7 WHERE photo_key = 2", "rows"),
    ("UPDATE texts SET lines = '[[' WHERE photo_key = 1", "rows"),
    ("UPDATE descriptions SET stage = 'dance' WHERE photo_key = 2 AND stage = 'text'", "rows"),
    ("UPDATE levels SET level = 1e30 WHERE photo_key = 2", "rows"),
    ("UPDATE backgrounds SET maxima = x'0000c07f'", "rows"),
    ("UPDATE calibrations SET usual = x'00'", "rows"),
    ("UPDATE searches SET mode = 'magic', name = CAST(x'61ff62' AS TEXT)", "rows"),
    ("UPDATE jobs SET counts = 'none', state = 'odd'", "rows"),
    ("UPDATE settings SET value = 'x' WHERE name = 'revision'", "rows"),
    ("UPDATE libraries SET added_at = 5", "rows"),
    ("UPDATE models SET dimensions = 3", "models"),
    ("UPDATE models SET logit_scale = -1e300", "rows"),
    ("DELETE FROM settings WHERE name = 'words_state'", "settings"),
    ("UPDATE settings SET value = '77' WHERE name = 'active_model'", "settings"),
    ("UPDATE tag_names SET name = 'dogg' WHERE name = 'dog'", "tags"),
    ("UPDATE photos SET orphaned_at = '2026-01-01T00:00:00+00:00' WHERE key = 16", "orphans"),
    ("UPDATE files SET folder = x'2f656c73657768657265' WHERE photo_key = 17", "libraries"),
    ("DELETE FROM libraries", "references"),
    ("DELETE FROM models", "references"),
    ("UPDATE embeddings SET photo_key = 4242 WHERE photo_key = 18", "references"),
]
"""Each changes one value or row behind Sightline's back; and the kind of problem that it is."""


@pytest.mark.parametrize(("statement", "kind"), CHANGES)
def test_what_cannot_be_is_found(copy: Home, statement: str, kind: str) -> None:
    change(copy, statement)
    with closing(connect_to_read(copy)) as connection:
        soundness.prepare(connection)
        view = View(copy, connection, Silent())
        found = [finding for subject in (rows, links, tags, vectors) for finding in subject.look(view)]
    assert kind in {finding.kind for finding in found if finding.mend is not None}


@pytest.mark.parametrize("first", range(5))
def test_what_cannot_be_is_mended(sound: Base, copy: Home, first: int) -> None:
    some = CHANGES[first::5]
    for statement, _ in some:
        change(copy, statement)
    assert {kind for _, kind in some} <= kinds(repaired(copy))
    run_index(copy, [sound.photos], OPTIONS)
    assert verify(copy).problems == []
    with Engine.open(copy) as engine:
        assert engine.search(Request(limit=100)).total == 37


def test_what_files_say_of_their_photos_is_read_from_them_again(sound: Base, copy: Home) -> None:
    change(
        copy,
        "UPDATE photos SET width = 'wide', camera = CAST(x'ff' AS TEXT) WHERE key = 3",
        "UPDATE photos SET id = 'unknown', height = 0 WHERE key = 4",
    )
    repaired(copy)
    assert rows_of(copy)["photos"] == sound.rows["photos"]


def test_where_no_file_is_at_hand_what_must_be_known_stays_a_problem(copy: Home, tmp_path: Path) -> None:
    for table, column in (("files", "folder"), ("libraries", "path")):
        change(copy, f"UPDATE {table} SET {column} = ?", values=[os.fsencode(tmp_path / "away")])
    change(
        copy,
        "UPDATE photos SET camera = x'05', taken_at = 'once' WHERE key = 3",
        "UPDATE photos SET width = 0 WHERE key = 4",
    )
    found = verify(copy, repair=True)
    (left,) = (problem for problem in found.problems if not problem.mended)
    assert left.what.startswith("What is known of 1 photo cannot be (width)")
    assert ask(copy, "SELECT camera, taken_at FROM photos WHERE key = 3") == [(None, None)]
    assert "38 files not there" in found.notes[0]


def test_a_photo_whose_row_is_gone_comes_back_from_its_file_with_all_that_hangs_on_it(sound: Base, copy: Home) -> None:
    with closing(sqlite3.connect(copy.catalog_path)) as connection:  # without foreign keys, as damage has it
        connection.execute("DELETE FROM photos WHERE key = 3")
        connection.commit()
    assert "references" in kinds(verify(copy))
    repaired(copy)
    run = run_index(copy, [sound.photos], OPTIONS)
    assert (run.added, run.embedded, run.unchanged) == (0, 0, 38)
    assert {row[:2] for row in rows_of(copy)["photos"]} == {row[:2] for row in sound.rows["photos"]}
    assert rows_of(copy)["embeddings"] == sound.rows["embeddings"]


def test_the_folder_of_a_library_is_told_by_its_files(sound: Base, copy: Home) -> None:
    change(copy, "UPDATE libraries SET path = x'2f66'")
    assert "libraries" in kinds(repaired(copy))
    assert ask(copy, "SELECT path FROM libraries") == [(os.fsencode(sound.photos),)]


def test_a_file_that_is_said_to_hold_another_photo_is_found_where_photos_are_read(copy: Home) -> None:
    change(copy, "UPDATE files SET photo_key = 5 WHERE photo_key = 3")
    repaired(copy)  # by all that the catalog says, no file holds the one any more
    assert ask(copy, "SELECT key FROM photos WHERE orphaned_at IS NOT NULL") == [(3,)]
    assert "files" in kinds(verify(copy, photos=True))
    assert verify(copy, photos=True, repair=True).ok
    assert verify(copy, photos=True).problems == []
    assert ask(copy, "SELECT count(*) FROM photos WHERE orphaned_at IS NULL") == [(37,)]


def test_a_wrong_number_of_the_version_is_put_right(copy: Home) -> None:
    for number in (0, 2, 99):
        change(copy, f"PRAGMA user_version = {number}")
        with pytest.raises(VersionError):
            connect_to_read(copy)
        assert kinds(verify(copy)) == {"catalog"}
        repaired(copy)
        assert ask(copy, "SELECT count(*) FROM photos") == [(37,)]


def test_an_index_of_another_version_is_left_alone(copy: Home) -> None:
    older, newer = VERSION - 1, VERSION + 1
    for statements in (
        (f"PRAGMA user_version = {older}", f"DELETE FROM _sqlite_migrations WHERE name = '{VERSION:04}'"),
        (
            f"PRAGMA user_version = {newer}",
            f"INSERT INTO _sqlite_migrations SELECT 99, migration_set, '{newer:04}', applied_at FROM _sqlite_migrations"
            " LIMIT 1",
        ),
    ):
        change(copy, *statements)
        for repair in (False, True):
            with pytest.raises(VersionError, match=r"newer|older"):
                verify(copy, repair=repair)


def test_a_repair_that_has_ended_gives_no_sign_of_life(copy: Home) -> None:
    before = set(threading.enumerate())
    verify(copy, repair=True)
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name == "beat"]


def test_a_repair_and_a_run_keep_out_of_each_others_way(copy: Home) -> None:
    with writer_lock(copy):
        assert verify(copy).ok
        with pytest.raises(LockedError):
            verify(copy, repair=True)


def test_damage_that_leads_to_any_error_is_said_in_a_sentence(copy: Home) -> None:
    change(copy, "UPDATE files SET folder = CAST(folder AS TEXT)")
    with Engine.open(copy) as engine, pytest.raises(TypeError) as raised:
        engine.search(Request())
    sentence = soundness.explained(copy, raised.value)
    assert isinstance(sentence, DamagedError) and "files.folder" in str(sentence) and "--repair" in str(sentence)
    repaired(copy)
    assert soundness.explained(copy, TypeError("a fault of the program")) is None


def test_the_revision_never_comes_back(copy: Home) -> None:
    before = int(str(ask(copy, "SELECT value FROM settings WHERE name = 'revision'")[0][0]))
    change(copy, "DELETE FROM settings WHERE name = 'revision'")
    repaired(copy)
    with closing(connect_to_read(copy)) as connection:
        assert settings.revision(connection) > before


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"x" * 9000), lambda path: path.write_bytes(b"")])
def test_of_a_catalog_with_nothing_in_it_nothing_is_made(copy: Home, damage: Callable[[Path], None]) -> None:
    damage(copy.catalog_path)
    before = copy.catalog_path.read_bytes()
    assert kinds(verify(copy)) == {"catalog"}
    found = verify(copy, repair=True)
    assert not found.ok and "Nothing can be read" in found.problems[-1].what
    assert copy.catalog_path.read_bytes() == before


def test_what_a_person_made_survives_a_broken_page_of_its_table(sound: Base, home: Home) -> None:
    with closing(sqlite3.connect(sound.home.catalog_path)) as connection:
        roots = dict(connection.execute("SELECT name, rootpage FROM sqlite_master"))
    whole = sound.home.catalog_path.read_bytes()
    tables = ("captions", "dismissals", "searches", "photos")
    home.path.mkdir()
    for name, page in [("the list of tables", 1), *((table, roots[table]) for table in tables)]:
        for path in home.path.glob("catalog*"):
            path.unlink()
        home.catalog_path.write_bytes(whole[: (page - 1) * 4096] + bytes(4096) + whole[page * 4096 :])
        found = verify(home, repair=True)
        assert found.ok and found.rebuilt is not None and found.rebuilt.kept is not None, (name, found)
        assert found.rebuilt.kept.stat().st_size == len(whole)
        now = precious_of(home)
        lost = {table for table, rows in sound.precious.items() if not rows <= now[table]}
        assert lost <= {name} & {"searches"}, name  # which stand nowhere else
        assert not lost or any("page of searches" in note for note in found.notes), found.notes
