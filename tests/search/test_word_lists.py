"""Lists made of postings give what SQLite's full-text search gives for the whole query, and never what was."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np
import pytest
from catalogs import put

from search.catalog import changes, descriptions, words
from search.catalog.connection import connect_to_read, connect_to_write, one_state
from search.home import Home
from search.vectors.protocol import Keys
from search.word_lists import Lists, WordLists

VOCABULARY = (
    "dog",
    "dogs",
    "beach",
    "red",
    "car",
    "snow",
    "two",
    "man",
    "men",
    "東京",
    "夜の東京",
    "x1",
    "the",
    "T-shirt",
)
ASKED = (
    ["dog"],
    ["dogs", "beach"],
    ["two", "red", "dog", "cars"],
    ["the"],
    ["men", "東京"],
    ["夜の東京", "dog"],
    ["t-shirt", "dog"],
    ["red car"],
    ["unheard", "snow"],
    ["dog", "DOG"],
    ["x1"],
    ["x1", "beach"],
    ["1", "car"],
    ["?"],
    [],
)


def describe(connection: sqlite3.Connection, chance: random.Random, number: int) -> int:
    name = f"{chance.choice(VOCABULARY)}_{number}.jpg"
    key = put(connection, name, tags=[*{chance.choice(VOCABULARY) for _ in range(chance.randrange(3))}])
    descriptions.put_caption(connection, key, "starter", " ".join(chance.choices(VOCABULARY, k=chance.randrange(9))))
    if not chance.randrange(4):
        descriptions.put_own_caption(connection, key, " ".join(chance.choices(VOCABULARY, k=3)))
    return key


@pytest.fixture
def catalog(home: Home) -> Iterator[sqlite3.Connection]:
    """120 photos whose captions, tags and names are words drawn by chance; in one a long text was read."""
    chance = random.Random(5)
    connection = connect_to_write(home)
    keys = [describe(connection, chance, number) for number in range(120)]
    connection.execute("INSERT INTO texts (photo_key, text) VALUES (3, ?)", ("a dog, " * 90 + "x1 red car " * 60,))
    words.refresh(connection, keys)
    connection.commit()
    yield connection
    connection.close()


def of(lists: WordLists, connection: sqlite3.Connection) -> Lists:
    found = lists.at(connection, parts=True, when="now")
    assert found is not None
    return found


def check(connection: sqlite3.Connection, lists: Lists, asked: list[str], allowed: Keys | None = None) -> int:
    """That the lists are those of the catalog, to the last bit and in their order; how long they are."""
    where, values = "TRUE", []
    if allowed is not None:
        where, values = f"photos.key IN ({','.join('?' * len(allowed))})", allowed.tolist()
    exact = [word for word in asked if not words.term(word).startswith("((")]
    for found, expected in (
        (lists.all_words(asked, allowed), words.ranked(connection, words.match_all(asked), where, values)),
        (
            lists.some_words(asked, allowed),
            words.ranked(connection, words.said(words.match_some(asked)), where, values),
        ),
        (lists.written(asked, [], allowed), words.written(connection, asked, [], where, values)),
        (lists.written([], asked, allowed), words.written(connection, [], asked, where, values)),
    ):
        if exact == asked:
            assert list(found.items()) == list(expected.items()), asked
        else:  # sums are made in another order for terms of several pieces: either order of equal scores will do
            assert list(found.values()) == pytest.approx(list(expected.values()))
            assert {key: pytest.approx(score) for key, score in expected.items()} == found
    return len(found)


@pytest.mark.parametrize("asked", ASKED, ids=" ".join)
def test_lists_are_those_of_the_whole_query(catalog: sqlite3.Connection, asked: list[str]) -> None:
    lists = WordLists()
    for _ in range(2):  # read, then kept
        check(catalog, of(lists, catalog), asked)
    allowed = np.arange(2, 90, 3)
    check(catalog, of(lists, catalog), asked, allowed)


@pytest.mark.parametrize("most_changed", [20_000, 10])
def test_lists_follow_whatever_is_written(
    catalog: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, most_changed: int
) -> None:
    monkeypatch.setattr("search.full_text.MOST_CHANGED", most_changed)
    chance, lists = random.Random(9), WordLists()

    def orphan(key: int) -> None:
        catalog.execute("DELETE FROM files WHERE photo_key = ?", (key,))
        changes.mark_orphans(catalog, [key])

    writes: list[Callable[[int], object]] = [
        lambda key: words.refresh(catalog, [describe(catalog, chance, 1000 + number)]),
        lambda key: descriptions.put_own_caption(catalog, key, " ".join(chance.choices(VOCABULARY, k=4))),
        lambda key: descriptions.put_own_caption(catalog, key, ""),
        orphan,
    ]
    found = 0
    for number in range(60):
        (highest,) = catalog.execute("SELECT max(key) FROM photos").fetchone()
        chance.choice(writes)(chance.randrange(1, highest + 1))
        if number % 3 == 0:
            found += check(catalog, of(lists, catalog), chance.choice(ASKED))
            check(catalog, of(lists, catalog), ["dog", "red"])
    assert found > 20


def test_the_best_of_more_than_are_kept(catalog: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = of(WordLists(), catalog)
    every = list(lists.some_words(["dog", "red"], None).items())
    assert len(every) > 20
    monkeypatch.setattr("search.word_lists.DEPTH", 7)
    assert list(lists.some_words(["dog", "red"], None).items()) == every[:7]


def test_few_postings_among_many_photos_are_put_together_alike(
    catalog: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for factor in (0, 10**9):
        monkeypatch.setattr("search.word_lists._SPARSE", factor)
        for asked in ASKED:
            check(catalog, of(WordLists(), catalog), asked)


def test_only_what_filters_leave_is_found(catalog: sqlite3.Connection) -> None:
    lists = of(WordLists(), catalog)
    every = list(lists.all_words(["dog"], None))
    allowed = np.asarray([every[1], every[3], every[4], 10_000], np.int64)
    assert list(lists.all_words(["dog"], allowed, [every[3], 10_000])) == [every[1], every[4]]


def test_a_change_of_words_is_seen_at_once(catalog: sqlite3.Connection) -> None:
    lists = WordLists()
    before = of(lists, catalog).all_words(["dog"], None)
    other = next(key for key in range(1, 121) if key not in before)
    descriptions.put_own_caption(catalog, other, "a dog")
    assert set(of(lists, catalog).all_words(["dog"], None)) == {*before, other}


def test_photos_without_a_file_are_found_no_more(catalog: sqlite3.Connection) -> None:
    lists = WordLists()
    first, *rest = of(lists, catalog).all_words(["beach"], None)
    catalog.execute("DELETE FROM files WHERE photo_key = ?", (first,))
    changes.mark_orphans(catalog, [first])
    assert set(of(lists, catalog).all_words(["beach"], None)) == set(rest)


def test_an_answer_that_began_before_a_change_does_not_see_it(home: Home, catalog: sqlite3.Connection) -> None:
    lists = WordLists()
    with closing(connect_to_read(home)) as early, closing(connect_to_read(home)) as late, one_state(early):
        before = of(lists, early)
        check(early, before, ["dog"])
        with catalog:
            descriptions.put_own_caption(catalog, 1, "a dog on the beach")
            words.refresh(catalog, [describe(catalog, random.Random(3), 1000)])
        with one_state(late):
            for asked in (["dog"], ["beach", "snow"]):
                check(late, of(lists, late), asked)
        for asked in (["dog"], ["beach", "snow"]):
            check(early, before, asked)


def test_what_was_not_used_for_long_goes(catalog: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.full_text.MOST_KEPT", 100)
    lists = of(WordLists(), catalog)
    for word in ("dog", "beach", "nothing", "red", "snow", "two", "car"):
        lists.all_words([word], None)
    table = lists._words._table
    kept = list(table._kept)
    assert ("dog",) not in kept and kept[-2:] == [("car",), ("cars",)]
    assert sum(len(one.keys) + 64 for _, _, one in table._kept.values()) <= 4 * 121
    assert table._merged.keys() <= table._kept.keys()
