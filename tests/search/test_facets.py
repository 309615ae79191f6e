"""What the hits of an answer have in common."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest
from catalogs import put

from search.catalog.connection import connect_to_write, one_state
from search.facets import Facets, facets
from search.filters import allowed_keys
from search.home import Home
from search.overview import Overview
from search.overviews import Overviews
from search.query import parse


@pytest.fixture
def catalog(home: Home) -> Iterator[sqlite3.Connection]:
    connection = connect_to_write(home)
    put(connection, "2021/beach/a.jpg", taken="2021-06-30T10:00:00", camera="Canon EOS 5D", tags=["beach", "dog"])
    put(connection, "2021/beach/b.jpg", taken="2021-07-02T10:00:00", camera="Canon EOS 5D Mark II", tags=["beach"])
    put(connection, "2021/beach2/c.jpg", taken="2021-07-03T10:00:00", size=(3, 4), form="PNG", kind="screenshot")
    put(connection, "2022/d.jpg", taken="2022-01-01T10:00:00+09:00", camera="iPhone", size=(4, 4), tags=["dog"])
    put(connection, "e.jpg", camera='a "quoted" one', kind="photo", tags=["animal"])
    connection.executemany(
        "INSERT INTO tag_names VALUES (?, ?)",
        [("animal", "dog"), ("animal", "animal"), ("dog", "dog"), ("hound", "dog")],
    )
    yield connection
    connection.close()


def counted(connection: sqlite3.Connection, query: str = "") -> Facets:
    return facets(Overview.read(connection), allowed_keys(connection, parse(query)))


def named(found: Facets, key: str) -> dict[str, int]:
    return {value.name: value.photos for value in found.values[key]}


def test_each_value_is_counted_over_the_hits(catalog: sqlite3.Connection) -> None:
    found = counted(catalog)
    assert found.photos == 5
    assert named(found, "tag") == {"animal": 3, "beach": 2, "dog": 2}  # a dog is an animal
    assert named(found, "is") == {"photo": 1, "screenshot": 1}
    assert named(found, "orientation") == {"landscape": 3, "portrait": 1, "square": 1}
    assert named(found, "type") == {"jpeg": 4, "png": 1}
    assert named(counted(catalog, "tag:dog"), "orientation") == {"landscape": 1, "square": 1}
    assert named(counted(catalog, "tag:dog"), "tag") == {"dog": 2, "beach": 1}


@pytest.mark.parametrize("query", ["", "tag:beach", "on:2021", "-type:png", "folder:/photos/2021/beach/"])
def test_a_value_counts_what_its_filter_leaves(catalog: sqlite3.Connection, query: str) -> None:
    values = [value for values in counted(catalog, query).values.values() for value in values]
    assert len(values) > 4
    for value in values:
        assert counted(catalog, f"{query} {value.filter}").photos == value.photos, value


def test_a_value_that_no_query_can_name_is_not_offered(catalog: sqlite3.Connection) -> None:
    assert named(counted(catalog), "camera") == {"Canon EOS 5D": 2, "Canon EOS 5D Mark II": 1, "iPhone": 1}


@pytest.mark.parametrize(
    ("query", "folders"),
    [
        ("", {"2021": 3, "2022": 1}),  # e.jpg lies beside them
        ("on:2021", {"beach": 2, "beach2": 1}),
        ("tag:beach", {"beach": 2}),
        ("on:2023", {}),
    ],
)
def test_folders_are_those_at_which_the_hits_part(
    catalog: sqlite3.Connection, query: str, folders: dict[str, int]
) -> None:
    assert named(counted(catalog, query), "folder") == folders


def test_libraries_part_first_and_a_photo_in_two_folders_counts_in_both(catalog: sqlite3.Connection) -> None:
    key = put(catalog, "x/f.jpg", library="/elsewhere")
    library = catalog.execute("SELECT max(key) FROM libraries").fetchone()[0]
    catalog.execute(
        "INSERT INTO files (folder, name, library_key, photo_key, size, mtime_ns) VALUES (?, ?, ?, ?, 1, 1)",
        (b"/elsewhere/x/y", b"f.jpg", library, key),
    )
    assert named(counted(catalog), "folder") == {"photos": 5, "elsewhere": 1}
    assert named(counted(catalog, "folder:/elsewhere/"), "folder") == {"y": 1}


def test_dates_are_counted_in_days_months_or_years(catalog: sqlite3.Connection) -> None:
    near = counted(catalog, "tag:beach").dates
    assert (near.unit, near.counts, near.undated) == ("day", {"2021-06-30": 1, "2021-07-02": 1}, 0)
    months = counted(catalog).dates
    assert (months.unit, months.undated) == ("month", 1)
    assert months.counts == {"2021-06": 1, "2021-07": 2, "2022-01": 1}
    put(catalog, "old.jpg", taken="1931-05-01")
    assert counted(catalog).dates.counts == {"1931": 1, "2021": 3, "2022": 1}
    assert counted(catalog, "camera:quoted").dates.counts == {}


def test_keys_that_the_overview_does_not_have_yet_are_left_out(catalog: sqlite3.Connection) -> None:
    before = Overview.read(catalog)
    new = put(catalog, "new.jpg", taken="2021-06-30")
    assert facets(before, np.asarray([1, new], np.int64)).photos == 1


def test_an_overview_is_read_again_when_something_was_committed(home: Home, catalog: sqlite3.Connection) -> None:
    catalog.commit()
    overviews = Overviews(home)
    first = overviews.now()
    assert overviews.now() is first
    with one_state(catalog):  # a reader that is in the middle of something does not hold it at what was
        catalog.execute("SELECT count(*) FROM photos").fetchone()
        with closing(connect_to_write(home)) as writer, writer:
            put(writer, "new.jpg")
        overviews._good_until = 0.0
        assert len(overviews.now().keys) == len(first.keys) + 1


@pytest.mark.parametrize("folder", ["two  blanks", "«quotes»", "旅行：北京", "2021－06", "a\nb", "no\u00a0break"])
def test_what_no_query_can_say_is_not_offered(catalog: sqlite3.Connection, folder: str) -> None:
    put(catalog, f"{folder}/x.jpg", camera=folder)
    found = counted(catalog)
    assert folder not in named(found, "folder") and folder not in named(found, "camera")
    assert {"2021", "2022"} <= set(named(found, "folder"))
