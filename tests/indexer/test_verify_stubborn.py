"""What once ended every repair of a home, or was never mended by any."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from faults.base import Base, answers_of, precious_of
from repairs import ask, change, kinds, repaired

from indexer.verify import rows, words
from indexer.verify.run import verify
from search.catalog import soundness
from search.catalog.connection import connect_to_read
from search.errors import SightlineError
from search.home import Home

pytestmark = pytest.mark.usefixtures("loaded_once")


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM words_data WHERE id = 10",
        "UPDATE words_data SET block = x'ffffffffffffffff' WHERE id = 10",
        "DELETE FROM parts_data",
        "UPDATE words_config SET v = 99",
    ],
)
def test_a_full_text_index_that_cannot_even_be_opened_is_made_anew(sound: Base, copy: Home, statement: str) -> None:
    # Mending the photo writes words as well, before their own turn.
    change(copy, statement, "UPDATE photos SET orphaned_at = '2026-01-01T00:00:00+00:00' WHERE key = 16")
    assert {"words", "orphans"} <= kinds(repaired(copy))
    assert answers_of(copy) == sound.answers
    assert precious_of(copy) == sound.precious


def test_pairs_of_photos_in_the_wrong_order_are_put_in_order(sound: Base, copy: Home) -> None:
    ((one, other),) = ask(copy, "SELECT photo_key, other_key FROM dismissals LIMIT 1")
    change(
        copy,
        "UPDATE dismissals SET photo_key = other_key, other_key = photo_key",
        f"INSERT INTO dismissals VALUES ({one}, {other}), ({one}, {one})",
    )
    assert kinds(verify(copy)) == {"rows"}
    found = repaired(copy)
    assert found.rebuilt is None and precious_of(copy) == sound.precious


def test_pages_of_dismissals_that_changed_places_are_mended_in_place(sound: Base, copy: Home) -> None:
    """A connection that may not write finds nothing wrong with such a table."""
    with closing(sqlite3.connect(copy.catalog_path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        roots = dict(connection.execute("SELECT name, rootpage FROM sqlite_master WHERE tbl_name = 'dismissals'"))
    content = bytearray(copy.catalog_path.read_bytes())
    one, other = (slice((roots[name] - 1) * 4096, roots[name] * 4096) for name in ("dismissals", "dismissals_by_other"))
    content[one], content[other] = content[other], content[one]
    copy.catalog_path.write_bytes(content)
    assert kinds(verify(copy)) == {"rows"}
    found = repaired(copy)
    assert found.rebuilt is None and precious_of(copy) == sound.precious


def test_two_authors_of_one_photo_that_cannot_be_read_lose_no_caption(sound: Base, copy: Home) -> None:
    said = "SELECT text FROM captions WHERE photo_key = 1 ORDER BY author = 'you'"
    before = ask(copy, said)
    change(
        copy,
        "UPDATE captions SET author = CAST(x'ff01' || CAST(author AS BLOB) AS TEXT) WHERE photo_key = 1",
        "UPDATE photos SET kind = 'poem' WHERE key = 12",
    )
    assert "rows" in kinds(repaired(copy))
    assert len(before) == 2 and ask(copy, said) == before
    assert precious_of(copy) == sound.precious


def test_a_mending_that_fails_does_not_keep_others_from_theirs(copy: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.IntegrityError("UNIQUE constraint failed")

    monkeypatch.setattr(rows, "_replace", fail)
    change(
        copy,
        "UPDATE photos SET kind = 'poem' WHERE key = 12",
        "UPDATE photos SET orphaned_at = '2026-01-01T00:00:00+00:00' WHERE key = 16",
    )
    found = verify(copy, repair=True)
    assert {problem.kind: problem.mended for problem in found.problems} == {"rows": False, "orphans": True}
    assert any("UNIQUE constraint failed" in note for note in found.notes)


def test_what_is_mended_in_part_is_not_called_mended(copy: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    change(copy, "UPDATE words SET tags = 'zeppelin' WHERE rowid IN (2, 3, 5)")
    write = words._write

    def half(mending: object, found: object) -> None:
        found.words[:] = found.words[:1]  # type: ignore[attr-defined]
        write(mending, found)  # type: ignore[arg-type]

    monkeypatch.setattr(words, "_write", half)
    monkeypatch.setattr("indexer.verify.repair._ROUNDS", 1)
    (problem,) = verify(copy, repair=True).problems
    assert problem.what.startswith("The words of 2 photos") and not problem.mended


def file(path: Path) -> None:
    path.write_bytes(b"in the way")


def dangling(path: Path) -> None:
    path.symlink_to("/nowhere/at/all")


@pytest.mark.parametrize("put", [file, os.mkfifo])
def test_what_lies_in_the_place_of_vectors_gives_way_to_them(
    sound: Base, copy: Home, put: Callable[[Path], None]
) -> None:
    shutil.rmtree(copy.vectors_dir)
    put(copy.vectors_dir)
    assert kinds(verify(copy)) == {"generation"}
    repaired(copy)
    assert list(copy.vectors_dir.glob("*/index.faiss"))
    assert answers_of(copy) == sound.answers


def test_a_link_that_leads_nowhere_is_told_and_nothing_is_forgotten_for_it(copy: Home, tmp_path: Path) -> None:
    """The disk that it leads to may be plugged in again."""
    for folder in (copy.vectors_dir, copy.thumbnails_dir):
        folder.rename(tmp_path / folder.name)
        folder.symlink_to(tmp_path / "away" / folder.name)
    for _ in range(2):
        found = verify(copy, repair=True)
        assert [(problem.kind, problem.mended) for problem in found.problems] == [
            ("generation", False), ("thumbnails", False)
        ]  # fmt: skip
    (tmp_path / "away").symlink_to(tmp_path)
    found = verify(copy)
    assert found.problems == [] and found.checked["generations"] == 2 and found.checked["thumbnails"] == 18


@pytest.mark.parametrize("put", [file, os.mkfifo, dangling, Path.mkdir])
def test_what_lies_in_the_place_of_a_thumbnail_or_of_a_folder_of_them_is_deleted(
    copy: Home, put: Callable[[Path], None]
) -> None:
    thumbnail, other = sorted(copy.thumbnails_dir.glob("*/*.webp"))[:2]
    thumbnail.unlink()
    put(thumbnail)
    if put is not Path.mkdir:
        shutil.rmtree(other.parent)
        put(other.parent)
    assert kinds(verify(copy)) == {"thumbnails"}
    repaired(copy)
    assert not os.path.lexists(thumbnail) and (put is Path.mkdir or not os.path.lexists(other.parent))


@pytest.mark.parametrize("put", [file, os.mkfifo])
def test_what_lies_in_the_place_of_all_thumbnails_is_deleted(copy: Home, put: Callable[[Path], None]) -> None:
    shutil.rmtree(copy.thumbnails_dir)
    put(copy.thumbnails_dir)
    assert kinds(verify(copy)) == {"thumbnails"}
    repaired(copy)


def test_tables_of_other_programs_are_left_alone(sound: Base, copy: Home) -> None:
    table = '"of ""another"" one"'
    change(
        copy,
        f'CREATE TABLE {table} ("order" TEXT NOT NULL, "a ""b""" INTEGER, of REFERENCES photos (key))',
        f"INSERT INTO {table} VALUES (x'ff', 'text', 4242)",
        "UPDATE photos SET kind = 'poem' WHERE key = 12",
    )
    assert kinds(repaired(copy)) == {"rows"}
    assert ask(copy, f"SELECT * FROM {table}") == [(b"\xff", "text", 4242)]
    # Nothing but theirs, the full-text indexes' and SQLite's own is left out.
    change(copy, f"DROP TABLE {table}")
    tables = {str(name) for (name,) in ask(copy, "SELECT name FROM sqlite_master WHERE type = 'table'")}
    others = {name for name in tables if name.startswith(("words", "parts", "sqlite_", "_sqlite_"))}
    with closing(connect_to_read(copy)) as connection:
        assert soundness.own_tables(connection) == tables - others


def test_where_there_is_no_room_for_temporary_files_it_says_so(copy: Home) -> None:
    with closing(connect_to_read(copy)) as connection:
        connection.execute("PRAGMA temp.max_page_count = 4")
        with pytest.raises(SightlineError, match="SQLITE_TMPDIR"):
            words.is_whole(connection, "words")
