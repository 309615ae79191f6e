"""What the word that is being typed could become."""

from __future__ import annotations

import pytest
from catalogs import put
from hypothesis import given
from hypothesis import strategies as st

from search.catalog.connection import connect_to_write
from search.errors import QueryError
from search.home import Home
from search.overview import Overview
from search.query import parse
from search.suggestions import suggestions


@pytest.fixture(scope="module")
def overview(tmp_path_factory: pytest.TempPathFactory) -> Overview:
    connection = connect_to_write(Home(tmp_path_factory.mktemp("home")))
    put(connection, "2021/beach/a.jpg", taken="2021-06-30", camera="Canon EOS 5D", tags=["beach", "dog"])
    put(connection, "2021/beach/b.jpg", taken="2021-07-02", camera="Canon EOS 5D", tags=["beach chair"])
    put(connection, "2021/best of/c.jpg", taken="2022-06-03", camera="iPhone 12", kind="screenshot")
    both = put(connection, "2021/c.jpg", camera='a "quoted" one', tags=["dog"])
    connection.execute(
        "INSERT INTO files (folder, name, library_key, photo_key, size, mtime_ns) VALUES (?, 'c', 1, ?, 1, 1)",
        (b"/photos/2021/twice", both),
    )
    connection.executemany(
        "INSERT INTO tag_names VALUES (?, ?)", [("hound", "dog"), ("dog", "dog"), ("beach", "beach chair")]
    )
    return Overview.read(connection)


def texts(overview: Overview, typed: str, limit: int = 20) -> list[str]:
    return [one.text for one in suggestions(overview, typed, limit).found]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("a dog on the bea", ["tag:beach", "folder:/photos/2021/beach/", 'tag:"beach chair"']),
        ("hou", ["tag:dog"]),
        ("eos", ['camera:"Canon EOS 5D"']),
        ("ca", ['camera:"Canon EOS 5D"', "camera:"]),
        ("scr", ["is:screenshot"]),
        ("camera:", ['camera:"Canon EOS 5D"', 'camera:"iPhone 12"']),
        ('dog camera:"canon e', ['camera:"Canon EOS 5D"']),
        ("-tag:d", ["-tag:dog"]),
        ("TAG:Dog", ["tag:dog"]),
        ("folder:/photos/2021/b", ["folder:/photos/2021/beach/", 'folder:"/photos/2021/best of/"']),
        ("after:", ["after:2022", "after:2021"]),
        ("on:2021", ["on:2021", "on:2021-07", "on:2021-06"]),
        ("on:2021-0", ["on:2021-07", "on:2021-06"]),
        ("before:2021-06-", ["before:2021-06-30"]),
        ("after:june", ["after:2022-06", "after:2021-06"]),
        ("june", ["on:2022-06", "on:2021-06"]),
        ("2022", ["on:2022", "on:2022-06"]),
    ],
)
def test_completes_the_last_word(overview: Overview, typed: str, expected: list[str]) -> None:
    found = texts(overview, typed)
    assert sorted(found) == sorted(expected)
    assert found[0] == expected[0]


@pytest.mark.parametrize("typed", ["", "dog ", "d", '"bea', "tag:zebra", "colour:re", 'tag:"dog" '])
def test_where_there_is_nothing_to_say_it_says_nothing(overview: Overview, typed: str) -> None:
    assert texts(overview, typed) == []


def test_what_is_replaced_is_the_last_word_with_its_key_and_minus(overview: Overview) -> None:
    found = suggestions(overview, 'a 🐕 -camera:"canon e', 1)
    assert 'a 🐕 -camera:"canon e'[found.start : found.end] == '-camera:"canon e'


def test_labels_tell_how_many_photos_there_are_and_what_was_matched(overview: Overview) -> None:
    (tag,) = suggestions(overview, "hound", 5).found
    assert (tag.kind, tag.label, tag.detail, tag.photos) == ("tag", "dog", "hound", 2)
    folder = suggestions(overview, "folder:beach", 5).found[0]
    assert (folder.label, folder.detail, folder.photos) == ("beach", "/photos/2021/", 2)
    assert next(one for one in suggestions(overview, "folder:2021", 5).found).photos == 4


def test_at_most_three_of_a_kind_for_a_free_word_and_no_more_than_the_limit(home: Home) -> None:
    connection = connect_to_write(home)
    for number in range(6):
        put(connection, f"{number} beach/a.jpg", tags=["beach"])
    overview = Overview.read(connection)
    assert [one.kind for one in suggestions(overview, "bea", 20).found] == ["tag", "folder", "folder", "folder"]
    assert len(suggestions(overview, "folder:bea", 20).found) == 6
    assert len(suggestions(overview, "folder:bea", 2).found) == 2


@given(st.text(max_size=30))
def test_any_text_can_be_completed_to_a_query(overview: Overview, typed: str) -> None:
    found = suggestions(overview, typed, 20)
    assert 0 <= found.start <= found.end == len(typed)
    for one in found.found:
        if one.kind != "key":
            try:
                query = parse(typed[: found.start] + one.text)
            except QueryError:
                continue  # what stands before it cannot be
            assert query.filters[-1].key == one.kind


def test_a_text_longer_than_a_query_is_refused(overview: Overview) -> None:
    with pytest.raises(QueryError, match="at most 2000"):
        suggestions(overview, "x" * 2001, 5)
