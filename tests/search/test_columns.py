"""Filters asked of columns in memory find what the same filters find as SQL, also after photos were written."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from catalogs import put

from search.catalog import changelog, changes, descriptions, tags, words
from search.catalog.connection import connect_to_write
from search.column_filters import ColumnFilters, passing
from search.columns import Columns
from search.filters import allowed_keys, condition
from search.home import Home
from search.query import parse

CAMERAS = ("Canon EOS 5D", "canon eos 5d mark II", "100% “LUMIX”", "under_score", "ÄPFEL", None)
TAKEN = ("2020-12-31T23:59:59+09:00", "2021-06-30T00:00:00", "2021-06-30", "2021-06", "2021", "21", "", None)
FOLDERS = ("beach", "beach/Day 1", "Beach", "beach2", "2021/März", ".", "a_b")
NAMES = ("dog", "dogs at play", "IMG_2021", "x1 car")
QUERIES = (
    "after:2021",
    "before:2021-07",
    "on:2021-06-30",
    "-after:2021-06",
    "-on:2021",
    "camera:CANON",
    "-camera:canon",
    "camera:_",
    "camera:%",
    "camera:äpfel",
    "camera:ÄPFEL",
    "type:jpg",
    "-type:Heif",
    "type:webp",
    "orientation:landscape",
    "orientation:portrait",
    "-orientation:square",
    "is:Screenshot",
    "-is:photo",
    "folder:beach",
    "folder:BEACH",
    "-folder:beach",
    "folder:/photos/beach/",
    'folder:"/photos/beach/Day 1/"',
    "folder:a_b",
    "folder:nowhere",
    "tag:dog",
    "tag:animals",
    "-tag:Dogs",
    '"dog"',
    '"og"',
    '"car dog"',
    '"?"',
    "-dog",
    '-"at play"',
    "-?",
    "after:2020 orientation:landscape -folder:beach2 camera:canon -dog",
)


def describe(connection: sqlite3.Connection, chance: random.Random, number: int) -> int:
    key = put(
        connection,
        f"{chance.choice(FOLDERS)}/{chance.choice(NAMES)}_{number}.jpg",
        taken=chance.choice(TAKEN),
        camera=chance.choice(CAMERAS),
        form=chance.choice(("JPEG", "HEIC", "PNG")),
        size=(chance.randrange(3, 6), chance.randrange(3, 6)),
        kind=chance.choice(("photo", "screenshot", None)),
        tags=[*{chance.choice(("dog", "Cat", "beach")) for _ in range(chance.randrange(3))}],
    )
    descriptions.put_caption(connection, key, "starter", " ".join(chance.choices(["dog", "car", "sea"], k=2)))
    return key


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """120 photos of all sorts, some in several folders, some without a file."""
    chance = random.Random(7)
    connection = connect_to_write(Home(tmp_path_factory.mktemp("columns") / "home"))
    keys = [describe(connection, chance, number) for number in range(120)]
    for key in chance.sample(keys, 20):
        also(connection, key, f"/photos/{chance.choice(FOLDERS)}", key)
    gone = keys[::11]
    connection.executemany("DELETE FROM files WHERE photo_key = ?", [(key,) for key in gone])
    connection.executemany("INSERT INTO tag_names VALUES (?, ?)", [("animals", "dog"), ("animals", "cat")])
    words.refresh(connection, keys)
    changes.mark_orphans(connection, gone)
    connection.commit()
    yield connection
    connection.close()


def also(connection: sqlite3.Connection, key: int, folder: str, number: int) -> None:
    """Put another file of the photo into a folder."""
    changes.put_file(
        connection,
        library_key=1,
        folder=folder.encode(),
        name=b"also %d" % number,
        size=1,
        mtime_ns=1,
        photo_key=key,
    )


def listed(connection: sqlite3.Connection, query: str) -> list[int]:
    sql, values = condition(parse(query))
    rows = connection.execute(f"SELECT key FROM photos WHERE {sql} ORDER BY sort_at DESC, key DESC", values)
    return [row[0] for row in rows]


def check(connection: sqlite3.Connection, columns: Columns, query: str) -> int:
    """That columns find what the catalog does; how many these are."""
    expected = listed(connection, query)
    found = passing(connection, columns, parse(query))
    assert np.flatnonzero(found).tolist() == sorted(expected), query
    for count in (1, 7, 1000):
        assert columns.newest(connection, found, count).tolist() == expected[:count], query
    return len(expected)


@pytest.mark.parametrize("query", QUERIES)
def test_a_filter_finds_what_it_does_as_sql(catalog: sqlite3.Connection, query: str) -> None:
    check(catalog, Columns.read(catalog), query)


def test_what_is_asked_by_columns_or_by_sql_is_the_same(catalog: sqlite3.Connection) -> None:
    by_sql, by_columns = ColumnFilters(), ColumnFilters()
    by_columns.at(catalog, "now")
    for text in ("after:2021 -folder:beach", "", "camera:nikon"):
        query = parse(text)
        one, other = by_sql.newest(catalog, query, 9), by_columns.newest(catalog, query, 9)
        assert one[0] == other[0] and one[1].tolist() == other[1].tolist()
        allowed = by_columns.allowed(catalog, query)
        expected = allowed_keys(catalog, query)
        assert (allowed is None) == (expected is None) == (not text)
        if allowed is not None and expected is not None:
            assert allowed.tolist() == sorted(expected.tolist())


def test_columns_are_brought_up_to_date_with_whatever_is_written(
    catalog: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.columns._MOST_MOVED", 25)
    chance = random.Random(11)
    columns, entry = Columns.read(catalog), changelog.last(catalog)
    writes: list[Callable[[int], object]] = [
        lambda key: describe(catalog, chance, 1000 + number),
        lambda key: catalog.execute("UPDATE photos SET taken_at = ?, sort_at = '1999' WHERE key = ?", ("1999", key)),
        lambda key: catalog.execute("UPDATE photos SET camera = ? WHERE key = ?", (f"new {number}", key)),
        lambda key: tags.put_kinds(catalog, {key: "drawing"}),
        lambda key: also(catalog, key, f"/photos/new {number % 3}", 1000 + number),
        lambda key: catalog.execute(
            "UPDATE files SET folder = CAST('/photos/moved' || key AS BLOB) WHERE photo_key = ?", (key,)
        ),
        lambda key: changes.bring_back(catalog, key),
        lambda key: (
            catalog.execute("DELETE FROM files WHERE photo_key = ?", (key,)),
            changes.mark_orphans(catalog, [key]),
        ),
    ]
    seen = 0
    for number in range(60):
        (highest,) = catalog.execute("SELECT max(key) FROM photos").fetchone()
        chance.choice(writes)(chance.randrange(1, highest + 1))
        if number % 3 == 0:
            assert entry is not None
            changed = changelog.since(catalog, entry)
            assert changed is not None
            columns, entry = columns.update(catalog, changed), changelog.last(catalog)
            seen += check(catalog, columns, chance.choice(QUERIES)) + check(catalog, columns, "folder:new")
            check(catalog, columns, "camera:new -is:photo")
    assert seen > 100
    catalog.rollback()


def test_no_photos_pass_any_filter_of_an_empty_catalog(home: Home) -> None:
    connection = connect_to_write(home)
    columns = Columns.read(connection)
    for query in QUERIES:
        assert check(connection, columns, query) == 0
    put(connection, "first.jpg", taken="2021-06-30")
    assert check(connection, columns.update(connection, np.asarray([1])), "on:2021-06-30") == 1
    connection.close()


def test_text_that_damage_made_no_text_keeps_no_other_photo_from_being_found(home: Home) -> None:
    connection = connect_to_write(home)
    put(connection, "1.jpg", camera="Canon")
    put(connection, "2.jpg")
    connection.execute("UPDATE photos SET camera = CAST(x'ff43' AS TEXT), taken_at = x'00ff' WHERE key = 2")
    columns = Columns.read(connection)
    for query in ("camera:canon", "-camera:canon", "before:3000", "type:jpg"):
        found = passing(connection, columns, parse(query))
        assert found[1] == (1 in allowed_keys(connection, parse(query))), query  # type: ignore[operator]
    connection.close()
