"""What each filter of the query language finds."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from catalogs import put

from search.catalog import changes
from search.catalog.connection import connect_to_write
from search.filters import condition
from search.home import Home
from search.query import parse

TAKEN = ("2020-12-31T23:59:59+09:00", "2021-06-30T00:00:00", "2021-06-30T23:59:59", "2021-07-01T00:00:00Z", None)
FORMATS = ("JPEG", "PNG", "HEIC", "TIFF", "WEBP")


@pytest.fixture
def catalog(home: Home) -> Iterator[sqlite3.Connection]:
    """Five photos, of each date and format one; the second is a screenshot, tagged “dog”, as is the third."""
    connection = connect_to_write(home)
    for number, (taken, form) in enumerate(zip(TAKEN, FORMATS, strict=True)):
        photo = changes.NewPhoto(f"{number:032}", 4, 3 + number, form, 1, taken, "2021-06-30", None, None, None, None)
        changes.put_photo(connection, photo)
    connection.execute("UPDATE photos SET kind = 'screenshot' WHERE key = 2")
    connection.executemany("INSERT INTO tags (photo_key, tag, score) VALUES (?, 'dog', 0.9)", [(2,), (3,)])
    yield connection
    connection.close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("after:2021", [2, 3, 4]),
        ("after:2021-06-30", [2, 3, 4]),
        ("after:2021-07-01", [4]),
        ("before:2021-06-30", [1]),
        ("before:2021-07-01", [1, 2, 3]),
        ("before:2021", [1]),
        ("on:2021-06-30", [2, 3]),
        ("on:2021", [2, 3, 4]),
        ("on:2021-07", [4]),
        ("after:2021-06 before:2021-07", [2, 3]),
        ("-after:2021", [1, 5]),
        ("-on:2021-06-30", [1, 4, 5]),
        ("type:jpg", [1]),
        ("type:JPEG", [1]),
        ("type:heif", [3]),
        ("type:tif", [4]),
        ("-type:jpg -type:webp", [2, 3, 4]),
        ("orientation:square", [2]),
        ("orientation:landscape", [1]),
        ("orientation:portrait", [3, 4, 5]),
        ("tag:dog", [2, 3]),
        ("tag:Dog -tag:cat", [2, 3]),
        ("-tag:dog", [1, 4, 5]),
        ("is:screenshot", [2]),
        ("is:Screenshot tag:dog", [2]),
        ("-is:screenshot", [1, 3, 4, 5]),
    ],
)
def test_a_filter_finds_what_it_says_and_its_opposite_all_else(
    catalog: sqlite3.Connection, text: str, expected: list[int]
) -> None:
    sql, values = condition(parse(text))
    assert [row[0] for row in catalog.execute(f"SELECT key FROM photos WHERE {sql} ORDER BY key", values)] == expected


def test_a_folder_that_ends_with_the_separator_is_that_folder_and_what_is_below(catalog: sqlite3.Connection) -> None:
    near, below, beside = (put(catalog, path) for path in ("beach/a.jpg", "beach/day/b.jpg", "beach2/c.jpg"))
    put(catalog, "photos/beach/d.jpg", library="/backup")
    put(catalog, "Beach/e.jpg")

    def found(query: str) -> list[int]:
        sql, values = condition(parse(query))
        return [row[0] for row in catalog.execute(f"SELECT key FROM photos WHERE {sql} ORDER BY key", values)]

    assert found("folder:/photos/beach -folder:backup")[:3] == [near, below, beside]
    assert found("folder:/photos/beach/") == [near, below]
