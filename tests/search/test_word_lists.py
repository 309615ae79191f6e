"""Lists of terms put together give what SQLite's full-text search gives for the whole query, and never what was."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator

import numpy as np
import pytest
from catalogs import put

from search.catalog import changes, descriptions, words
from search.catalog.connection import connect_to_write
from search.home import Home
from search.word_lists import SETTLED_SECONDS, WordLists

VOCABULARY = ("dog", "dogs", "beach", "red", "car", "snow", "two", "man", "men", "東京", "夜の東京", "x1", "the")


@pytest.fixture
def catalog(home: Home) -> Iterator[sqlite3.Connection]:
    """120 photos whose captions, tags and names are words drawn by chance."""
    chance = random.Random(5)
    connection = connect_to_write(home)
    keys = []
    for number in range(120):
        name = f"{chance.choice(VOCABULARY)}_{number}.jpg"
        key = put(connection, name, tags=[*{chance.choice(VOCABULARY) for _ in range(chance.randrange(3))}])
        caption = " ".join(chance.choices(VOCABULARY, k=chance.randrange(9)))
        descriptions.put_caption(connection, key, "starter", caption)
        keys.append(key)
    words.refresh(connection, keys)
    yield connection
    connection.close()


@pytest.mark.parametrize(
    "asked",
    [["dog"], ["dogs", "beach"], ["two", "red", "dog", "cars"], ["the"], ["men", "東京"], ["unheard", "snow"], ["?"]],
    ids=" ".join,
)
def test_lists_are_those_of_the_whole_query(catalog: sqlite3.Connection, asked: list[str]) -> None:
    lists = WordLists()
    for _ in range(2):  # read, then kept
        for found, expression in (
            (lists.all_words(catalog, asked, None), words.match_all(asked)),
            (lists.some_words(catalog, asked, None), words.said(words.match_some(asked))),
        ):
            expected = words.ranked(catalog, expression, "TRUE", ())
            assert list(found.values()) == pytest.approx(list(expected.values()))
            # Where scores are equal but for rounding, either order will do.
            assert {key: pytest.approx(score) for key, score in expected.items()} == found


def test_the_best_of_more_than_are_kept(catalog: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    every = list(WordLists().some_words(catalog, ["dog", "red"], None).items())
    assert len(every) > 20
    monkeypatch.setattr("search.word_lists.DEPTH", 7)
    assert list(WordLists().some_words(catalog, ["dog", "red"], None).items()) == every[:7]


def test_only_what_filters_leave_is_found(catalog: sqlite3.Connection) -> None:
    lists = WordLists()
    every = list(lists.all_words(catalog, ["dog"], None))
    allowed = np.asarray([every[1], every[3], every[4], 10_000], np.int64)
    assert list(lists.all_words(catalog, ["dog"], allowed, [every[3], 10_000])) == [every[1], every[4]]


def test_a_change_of_words_is_seen_at_once(catalog: sqlite3.Connection) -> None:
    lists = WordLists()
    before = lists.all_words(catalog, ["dog"], None)
    other = next(key for key in range(1, 121) if key not in before)
    descriptions.put_own_caption(catalog, other, "a dog")
    assert set(lists.all_words(catalog, ["dog"], None)) == {*before, other}


def test_photos_without_a_file_are_found_no_more(catalog: sqlite3.Connection) -> None:
    lists = WordLists()
    first, *rest = lists.all_words(catalog, ["beach"], None)
    catalog.execute("DELETE FROM files WHERE photo_key = ?", (first,))
    changes.mark_orphans(catalog, [first])
    assert set(lists.all_words(catalog, ["beach"], None)) == set(rest)


def test_lists_are_used_once_the_words_have_been_the_same_for_a_while(
    catalog: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("search.word_lists.time.monotonic", lambda: clock[0])
    lists = WordLists()
    assert not lists.are_settled(catalog)
    clock[0] += SETTLED_SECONDS
    assert lists.are_settled(catalog)
    descriptions.put_own_caption(catalog, 1, "changed")
    assert not lists.are_settled(catalog)


def test_what_was_not_used_for_long_goes(catalog: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.word_lists.MOST_KEPT", 300)
    lists = WordLists()
    for word in ("dog", "beach", "nothing", "red"):
        lists.all_words(catalog, [word], None)
    kept = list(lists._kept)
    assert words.term("dog") not in kept and kept[-1] == words.term("red")
    assert sum(len(keys) + 64 for keys, _ in lists._kept.values()) <= 300
