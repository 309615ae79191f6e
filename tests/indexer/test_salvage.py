"""Rows are read page by page: all of a whole catalog, and of a damaged one all that its broken pages do not hold."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from catalogs import put
from hypothesis import given
from hypothesis import strategies as st
from support import active_model, as_version

from indexer.progress import Silent
from indexer.salvage.pages import Pages
from indexer.salvage.rescue import rescue
from indexer.salvage.trees import Trees, UnreadableError, record
from search.catalog import descriptions, soundness, words
from search.catalog.changes import put_embedding
from search.catalog.connection import connect_to_read, connect_to_write
from search.catalog.descriptions import CAPTIONS, TextLine
from search.home import Home

PHOTOS = 220
Rows = dict[str, set[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of which every larger table has pages above its leaves, and some rows go on in further pages."""
    home = Home(tmp_path_factory.mktemp("salvage") / "home")
    dice = np.random.default_rng(0)
    with closing(connect_to_write(home)) as connection:
        with connection:
            model = active_model(connection, 384)
            keys = [put(connection, f"{number}/photo {number}.jpg", tags=("a", "b")) for number in range(PHOTOS)]
            for key in keys:
                put_embedding(connection, model.key, key, dice.bytes(768))
                descriptions.put_caption(connection, key, "starter", f"caption {key} " * 20)
                descriptions.record(connection, key, CAPTIONS, "starter")
                if key % 10 == 0:
                    descriptions.put_text(connection, key, [TextLine("long " * 2000, (0, 0, 1, 1), 0.9)])
            descriptions.seen_by(connection, CAPTIONS, "starter")
            for key in keys[::3]:
                descriptions.put_own_caption(connection, key, f"my own words, {key} 東京")
            connection.executemany("INSERT INTO dismissals VALUES (?, ?)", zip(keys[::2], keys[1::2], strict=True))
            connection.execute("DELETE FROM files WHERE photo_key BETWEEN 90 AND 130")
            connection.execute("DELETE FROM photos WHERE key BETWEEN 90 AND 130")  # pages of theirs are free now
        words_of = words.refresh_all(connection, keys)
        assert list(words_of)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return home.catalog_path


def rows(catalog: Path) -> Rows:
    with closing(sqlite3.connect(catalog)) as connection:
        tables = soundness.own_tables(connection)
        return {
            table: set(connection.execute(f'SELECT * FROM "{table}"')) for table in tables - {"settings", "changelog"}
        }


def rescued(catalog: Path, target: Path) -> Rows:
    target.unlink(missing_ok=True)
    assert rescue(catalog, target, Silent()) is not None
    with closing(sqlite3.connect(target)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    return rows(target)


def test_of_a_whole_catalog_every_row_is_read_as_sqlite_reads_it(filled: Path, tmp_path: Path) -> None:
    assert rescued(filled, tmp_path / "new.db") == rows(filled)
    with closing(sqlite3.connect(filled)) as old, closing(sqlite3.connect(tmp_path / "new.db")) as new:
        numbers = "SELECT name, seq FROM sqlite_sequence WHERE name <> 'changelog' ORDER BY name"
        assert old.execute(numbers).fetchall() == new.execute(numbers).fetchall()
        found = "SELECT rowid, * FROM words ORDER BY rowid"
        assert old.execute(found).fetchall() == new.execute(found).fetchall()


def test_what_is_only_in_the_log_is_read_too_but_not_what_was_never_committed(filled: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.path.mkdir()
    shutil.copy(filled, home.catalog_path)
    with closing(connect_to_read(home)), closing(connect_to_write(home)) as writer:
        with writer:
            put(writer, "in the log.jpg")
        writer.execute("BEGIN")
        writer.execute("UPDATE photos SET lens = 'never' || key")
        writer.execute("PRAGMA cache_spill = 1")
        for file in ("catalog.db", "catalog.db-wal"):
            shutil.copy(home.path / file, tmp_path / file)
        committed = rows(home.catalog_path)
        writer.rollback()
    assert rescued(tmp_path / "catalog.db", tmp_path / "new.db") == committed
    # A log that is broken ends before its first broken frame.
    log = bytearray((tmp_path / "catalog.db-wal").read_bytes())
    log[200] ^= 1
    (tmp_path / "catalog.db-wal").write_bytes(log)
    with Pages(tmp_path / "catalog.db") as pages:
        assert pages[1] == filled.read_bytes()[:4096]


def test_a_log_that_the_disk_does_not_give_any_more_ends_no_rescue(filled: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.path.mkdir()
    shutil.copy(filled, home.catalog_path)
    with closing(connect_to_read(home)), closing(connect_to_write(home)) as writer:
        with writer:
            put(writer, "in the log.jpg")
        with Pages(home.catalog_path) as pages:
            number = next(iter(pages._log._places))
            assert pages[number] != bytes(4096)
            log = pages._log._file
            assert log is not None
            folder = os.open(tmp_path, os.O_RDONLY)
            os.dup2(folder, log.fileno())  # reading it fails from now on
            os.close(folder)
            assert pages[number] == bytes(4096)  # what the catalog itself has is older


def test_each_page_that_is_lost_costs_the_rows_on_it_and_no_others(filled: Path, tmp_path: Path) -> None:
    """Of the pages above the leaves, and of indexes, none is missed; of photos, files and captions nothing is lost at
    all, since indexes and words know them, too."""
    whole, before = filled.read_bytes(), rows(filled)
    with closing(sqlite3.connect(filled)) as connection:
        owners = dict(connection.execute("SELECT pageno, name FROM dbstat"))
        leaves = {row[0] for row in connection.execute("SELECT pageno FROM dbstat WHERE pagetype = 'leaf'")}
        # Tables without rowid have rows above their leaves, too.
        without = {
            row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE sql LIKE '%WITHOUT ROWID'")
        }
        cells = {
            page: cells
            for page, cells in connection.execute("SELECT pageno, ncell FROM dbstat")
            if page in leaves or owners[page] in without
        }
    dice = random.Random(0)
    pages = dice.sample(sorted(owners.keys() - leaves), 8) + dice.sample(sorted(leaves), 8)
    for page in pages:
        (tmp_path / "old.db").write_bytes(whole[: (page - 1) * 4096] + bytes(4096) + whole[page * 4096 :])
        now = rescued(tmp_path / "old.db", tmp_path / "new.db")
        for table, kept in before.items():
            lost = len(kept - now[table])
            on_it = cells.get(page, 0) if owners[page] == table else 0
            if table == "descriptions" and owners[page] in ("captions", "tags", "texts"):
                on_it = cells.get(page, 0)  # so that its photos are gone over again
            if table == "texts":
                on_it += 1  # a long row has pages of its own
            assert lost <= on_it, (page, owners[page], table)
        assert {row[:2] for row in now["photos"]} == {row[:2] for row in before["photos"]}, owners[page]
        assert {row[:3] for row in now["files"]} == {row[:3] for row in before["files"]}, owners[page]
        assert {row[:3] for row in now["captions"]} == {row[:3] for row in before["captions"]}, owners[page]
        assert now["dismissals"] == before["dismissals"], owners[page]


def test_a_kind_of_page_that_is_flipped_costs_nothing(filled: Path, tmp_path: Path) -> None:
    before, whole = rows(filled), filled.read_bytes()
    dice = random.Random(1)
    with closing(sqlite3.connect(filled)) as connection:
        pages = [row[0] for row in connection.execute("SELECT pageno FROM dbstat WHERE pagetype <> 'overflow'")]
    for page in dice.sample(pages, 12):
        content = bytearray(whole)
        content[(page - 1) * 4096 + (100 if page == 1 else 0)] ^= 1 << dice.randrange(8)
        (tmp_path / "old.db").write_bytes(content)
        now = rescued(tmp_path / "old.db", tmp_path / "new.db")
        assert {table: kept - now[table] for table, kept in before.items() if kept - now[table]} == {}, page


def test_a_page_of_the_list_of_tables_that_is_another_page_hides_none(filled: Path, tmp_path: Path) -> None:
    whole, before = filled.read_bytes(), rows(filled)
    with closing(sqlite3.connect(filled)) as connection:
        of_schema = "SELECT pageno FROM dbstat WHERE name = 'sqlite_schema' AND pagetype = 'leaf'"
        pages = [row[0] for row in connection.execute(of_schema)]
        others = [row[0] for row in connection.execute("SELECT rootpage FROM sqlite_master WHERE type = 'table'")]
    assert pages
    others = [next(page for page in others if whole[(page - 1) * 4096] == kind) for kind in (13, 10)] + [pages[0] + 1]
    for page in pages:
        for other in others:
            content = whole[(other - 1) * 4096 : other * 4096]
            (tmp_path / "old.db").write_bytes(whole[: (page - 1) * 4096] + content + whole[page * 4096 :])
            (tmp_path / "new.db").unlink(missing_ok=True)
            found = rescue(tmp_path / "old.db", tmp_path / "new.db", Silent())
            now = rows(tmp_path / "new.db")
            lost = {table for table, kept in before.items() if kept - now[table]}
            assert found is not None and lost <= {*found.lost, *found.unread}, (page, other)
            assert not lost & {"dismissals", "captions", "photos", "files", "libraries"}, (page, other)


def test_numbers_that_no_row_has_bring_no_photos_into_being(filled: Path, tmp_path: Path) -> None:
    shutil.copy(filled, tmp_path / "old.db")
    with closing(sqlite3.connect(tmp_path / "old.db")) as connection:
        connection.execute("UPDATE files SET photo_key = -17 WHERE key = 5")
        connection.execute("UPDATE files SET photo_key = 0 WHERE key = 6")
        connection.execute("UPDATE files SET key = -3 WHERE key = 7")
        connection.execute("UPDATE photos SET key = -8 WHERE key = 8")
        connection.execute("UPDATE captions SET photo_key = -9 WHERE photo_key = 9 AND author = 'starter'")
        connection.commit()
    found = rescued(tmp_path / "old.db", tmp_path / "new.db")
    before = rows(filled)
    assert {row[:2] for row in found["photos"]} <= {row[:2] for row in before["photos"]} | {(8, "unknown-8")}
    assert {row[:3] for row in found["files"]} <= {row[:3] for row in before["files"]}
    assert {row[:3] for row in found["captions"]} <= {row[:3] for row in before["captions"]}


def test_dismissals_that_no_index_knows_any_more_are_said_to_be_lost(filled: Path, tmp_path: Path) -> None:
    whole = bytearray(filled.read_bytes())
    with closing(sqlite3.connect(filled)) as connection:
        for (page,) in connection.execute("SELECT pageno FROM dbstat WHERE name GLOB 'dismissals*'").fetchall():
            whole[(page - 1) * 4096 : page * 4096] = bytes(4096)
    (tmp_path / "old.db").write_bytes(whole)
    found = rescue(tmp_path / "old.db", tmp_path / "new.db", Silent())
    assert found is not None and found.unread == ["dismissals"]


def test_without_its_head_a_catalog_is_read_by_the_look_of_its_pages(filled: Path, tmp_path: Path) -> None:
    (tmp_path / "old.db").write_bytes(b"\xff" * 4096 + filled.read_bytes()[4096:])
    assert rescued(tmp_path / "old.db", tmp_path / "new.db") == rows(filled)


def test_first_pages_that_are_mixed_up_are_told_by_their_rows(filled: Path, tmp_path: Path) -> None:
    shutil.copy(filled, tmp_path / "old.db")
    with closing(sqlite3.connect(tmp_path / "old.db")) as connection:
        roots = dict(connection.execute("SELECT name, rootpage FROM sqlite_master"))
        connection.execute("PRAGMA writable_schema = ON")
        for one, other in (("captions", "tags"), ("photos", "files"), ("dismissals", "levels")):
            for name, root in ((one, roots[other]), (other, roots[one])):
                connection.execute("UPDATE sqlite_master SET rootpage = ? WHERE name = ?", (root, name))
        connection.commit()
    now, before = rescued(tmp_path / "old.db", tmp_path / "new.db"), rows(filled)
    # What stands above the leaves of a table without rowid comes from other places, with another date.
    assert {row[:3] for row in now.pop("captions")} == {row[:3] for row in before.pop("captions")}
    assert {table: len(kept - now[table]) for table, kept in before.items() if kept - now[table]}.keys() <= {"tags"}


def test_a_catalog_of_an_earlier_version_is_brought_up_to_date(filled: Path, tmp_path: Path) -> None:
    shutil.copy(filled, tmp_path / "old.db")
    as_version(tmp_path / "old.db", 4)
    with closing(sqlite3.connect(tmp_path / "old.db")) as connection:
        photos = connection.execute("SELECT * FROM photos").fetchall()
    now = rescued(tmp_path / "old.db", tmp_path / "new.db")
    assert {row[: len(photos[0])] for row in now["photos"]} == set(photos)
    with closing(sqlite3.connect(tmp_path / "new.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] > 4


def test_of_what_is_no_catalog_nothing_is_made(tmp_path: Path) -> None:
    for content in (b"", b"Dear Grandma" * 5000, bytes(40_000), random.Random(0).randbytes(40_960)):
        (tmp_path / "old.db").write_bytes(content)
        (tmp_path / "new.db").unlink(missing_ok=True)
        assert rescue(tmp_path / "old.db", tmp_path / "new.db", Silent()) is None


@given(st.binary(max_size=300))
def test_no_content_makes_the_reading_of_a_record_fail_otherwise(content: bytes) -> None:
    with suppress(UnreadableError):
        record(content)


def test_pages_that_lead_in_a_circle_end(filled: Path, tmp_path: Path) -> None:
    dice = random.Random(2)
    whole = bytearray(filled.read_bytes())
    for page in range(2, len(whole) // 4096 + 1):
        start = (page - 1) * 4096
        if whole[start] in (2, 5):
            for place in range(8, 60, 4):
                whole[start + place : start + place + 4] = dice.randrange(1, len(whole) // 4096).to_bytes(4, "big")
    (tmp_path / "old.db").write_bytes(whole)
    with Pages(tmp_path / "old.db") as pages:
        trees = Trees(pages)
        assert all(list(trees.rows(page, numbered=page % 2 == 0)) is not None for page in pages)
    assert rescue(tmp_path / "old.db", tmp_path / "new.db", Silent()) is not None
