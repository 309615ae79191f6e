"""What the changelog says was written, so that readers need not read everything anew."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from catalogs import put

from search.catalog import changelog, changes, declared, tags, words
from search.catalog.connection import connect_to_write
from search.home import Home


@pytest.fixture
def catalog(home: Home) -> Iterator[sqlite3.Connection]:
    """Five photos with a file each; the last one has no file any more."""
    connection = connect_to_write(home)
    for number in range(5):
        put(connection, f"{number}.jpg")
    connection.execute("DELETE FROM files WHERE photo_key = 5")
    changes.mark_orphans(connection, [5])
    yield connection
    connection.close()


def file_of(connection: sqlite3.Connection, photo: int) -> int:
    return int(connection.execute("SELECT key FROM files WHERE photo_key = ?", (photo,)).fetchone()[0])


@pytest.mark.parametrize(
    ("write", "photos"),
    [
        (lambda c: put(c, "new.jpg"), [6]),
        (lambda c: c.execute("UPDATE photos SET taken_at = '2020-01-01', width = 7 WHERE key = 2"), [2]),
        (lambda c: tags.put_kinds(c, {1: "photo", 3: "drawing"}), [1, 3]),
        (lambda c: changes.bring_back(c, 5), [5]),
        (lambda c: changes.purge_orphans(c, changes.timedelta(-1)), [5]),
        (lambda c: changes.forget_file(c, file_of(c, 3), b"/photos", b"2.jpg"), [3]),
        (lambda c: c.execute("UPDATE files SET folder = x'2f78' WHERE photo_key = 4"), [4]),
        (lambda c: c.execute("UPDATE files SET photo_key = 1 WHERE photo_key = 4"), [1, 4]),
        (lambda c: words.refresh(c, [2]), [2]),
        (lambda c: words.refresh_tags(c, [4]), [4]),
        # What nobody filters by, and files that are where they were.
        (lambda c: c.execute("UPDATE photos SET preview = x'00'"), []),
        (lambda c: changes.mark_missing(c, [file_of(c, 1)]), []),
        (lambda c: c.execute("UPDATE files SET folder = folder, photo_key = photo_key"), []),
    ],
)
def test_whoever_writes_about_photos_enters_them(
    catalog: sqlite3.Connection, write: Callable[[sqlite3.Connection], object], photos: list[int]
) -> None:
    before = changelog.last(catalog)
    assert before is not None
    write(catalog)
    found = changelog.since(catalog, before)
    assert found is not None and found.tolist() == photos
    assert (changelog.last(catalog) == before) == (not photos)


def test_of_another_catalog_and_of_what_is_too_long_ago_nothing_is_known(
    catalog: sqlite3.Connection, tmp_path: Path
) -> None:
    first = changelog.last(catalog)
    assert first is not None
    with closing(connect_to_write(Home(tmp_path / "other"))) as other:
        for number in range(50):
            put(other, f"{number}.jpg")
        assert changelog.since(other, first) is None
    catalog.execute("UPDATE sqlite_sequence SET seq = seq + 100000 WHERE name = 'changelog'")
    words.refresh(catalog, [1])
    assert changelog.since(catalog, first) is None
    assert catalog.execute("SELECT count(*) FROM changelog").fetchone()[0] == 1
    last = changelog.last(catalog)
    assert last is not None
    found = changelog.since(catalog, last)
    assert found is not None and not len(found)


def test_what_is_rolled_back_was_never_written(catalog: sqlite3.Connection) -> None:
    catalog.commit()
    before = changelog.last(catalog)
    words.refresh(catalog, [1])
    assert changelog.last(catalog) != before
    catalog.rollback()
    assert changelog.last(catalog) == before


def test_a_trigger_that_somebody_changed_is_not_the_catalogs_own(catalog: sqlite3.Connection) -> None:
    assert declared.drop_made_by_nobody(catalog) == [] and declared.strange(catalog) == ([], [])
    catalog.execute("DROP TRIGGER photos_deleted")
    catalog.execute("CREATE TRIGGER photos_deleted AFTER DELETE ON photos BEGIN DELETE FROM captions; END")
    assert declared.drop_made_by_nobody(catalog) == [("trigger", "photos_deleted")]
    assert declared.strange(catalog) == (["photos_deleted"], [])
    before = changelog.last(catalog)
    declared.put_triggers(catalog)
    assert declared.strange(catalog) == ([], [])
    assert before is not None and changelog.since(catalog, before) is None  # all is read again
    after = changelog.last(catalog)
    declared.put_triggers(catalog)
    assert changelog.last(catalog) == after
