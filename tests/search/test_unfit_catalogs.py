"""What cannot be held in memory, or is damaged, is asked of the catalog instead, and nobody's answer is another."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from catalogs import put

from indexer.verify.rows import _replace
from indexer.verify.words import _rebuild
from search.catalog import changelog, descriptions, soundness, words
from search.catalog.connection import connect_to_write
from search.catalog_candidates import CatalogCandidates
from search.column_filters import ColumnFilters
from search.filters import allowed_keys
from search.home import Home
from search.query import parse
from search.vectors.flat import FlatIndex
from search.word_lists import WordLists


@pytest.fixture
def catalog(home: Home) -> Iterator[sqlite3.Connection]:
    """Six photos with captions."""
    with closing(connect_to_write(home)) as connection:
        for number in range(6):
            key = put(connection, f"{number}.jpg", camera="Canon", tags=["dog"])
            descriptions.put_caption(connection, key, "starter", "a dog on the beach")
            words.refresh(connection, [key])
        connection.commit()
        yield connection


def found(connection: sqlite3.Connection, filters: ColumnFilters, text: str) -> list[int]:
    keys = filters.allowed(connection, parse(text))
    assert keys is not None
    return sorted(keys.tolist())


def expected(connection: sqlite3.Connection, text: str) -> list[int]:
    keys = allowed_keys(connection, parse(text))
    assert keys is not None
    return sorted(keys.tolist())


@pytest.mark.parametrize("key", [-4, 1 << 28, 3 * 10**9, 1 << 62])
@pytest.mark.parametrize("when", ["before", "after"])
def test_keys_that_sightline_never_gives_are_left_to_the_catalog(
    catalog: sqlite3.Connection, key: int, when: str
) -> None:
    filters, lists = ColumnFilters(), WordLists()
    if when == "after":
        assert filters.at(catalog, "now") is not None and lists.at(catalog, parts=True, when="now") is not None
    catalog.execute("PRAGMA foreign_keys = OFF")
    catalog.execute("UPDATE files SET photo_key = ? WHERE photo_key = 2", (key,))
    catalog.execute("UPDATE photos SET key = ? WHERE key = 2", (key,))
    catalog.execute("INSERT INTO words (rowid, caption) VALUES (?, 'a dog')", (key,))
    changelog.note(catalog, [key])
    assert filters.at(catalog, "now") is None and lists.at(catalog, parts=True, when="now") is None
    assert filters.at(catalog, "now") is None  # and is not tried again
    if 0 <= key < 1 << 40:
        assert found(catalog, filters, "type:jpg") == expected(catalog, "type:jpg") == [1, 3, 4, 5, 6, key]


def test_a_value_that_is_no_key_is_nobodys(catalog: sqlite3.Connection) -> None:
    catalog.execute("PRAGMA foreign_keys = OFF")
    catalog.execute("UPDATE tags SET photo_key = '3x' WHERE photo_key = 3")
    filters = ColumnFilters()
    assert filters.at(catalog, "now") is not None
    assert found(catalog, filters, "tag:dog") == [1, 2, 4, 5, 6]
    assert found(catalog, filters, "-tag:dog") == [3]


def test_words_that_are_too_frequent_are_asked_of_the_catalog(
    catalog: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot: Any = SimpleNamespace(live=np.arange(1, 7), base=FlatIndex(np.arange(0), np.zeros((0, 4), np.float32)))

    def by_words(lists: WordLists) -> dict[str, dict[int, float]]:
        candidates = CatalogCandidates(parse("dog beach"), snapshot, catalog, lists, ColumnFilters())
        return {name: dict(one) for name, one in candidates.by_words().items()}

    lists, never_read = WordLists(), WordLists()
    assert lists.at(catalog, parts=False, when="now") is not None
    monkeypatch.setattr("search.postings._MOST_INSTANCES", 3)
    assert by_words(lists) == by_words(never_read) and len(by_words(lists)["all words"]) == 6


def test_after_an_index_of_words_was_made_anew_everybody_reads_it(catalog: sqlite3.Connection) -> None:
    lists = WordLists()
    fields = "own, caption, tags, text, name"
    catalog.execute(f"CREATE VIRTUAL TABLE other USING fts5({fields}, tokenize = '{words.WORDS_TOKENIZER}')")
    catalog.execute(f"INSERT INTO other (rowid, {fields}) SELECT rowid, {fields} FROM words WHERE rowid <> 2")
    for part in ("data", "idx"):
        catalog.execute(f"DELETE FROM words_{part}")
        catalog.execute(f"INSERT INTO words_{part} SELECT * FROM other_{part}")
    catalog.execute("DROP TABLE other")
    catalog.commit()
    damaged = lists.at(catalog, parts=False, when="now")
    assert damaged is not None and sorted(damaged.all_words(["dog"], None)) == [1, 3, 4, 5, 6]
    progress = SimpleNamespace(stage=lambda *_: None)
    mending: Any = SimpleNamespace(connection=catalog, transaction=lambda: catalog, progress=progress)
    catalog.commit()
    _rebuild("words")(mending)
    mended = lists.at(catalog, parts=False, when="now")
    assert mended is not None and sorted(mended.all_words(["dog"], None)) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("harm", ["mark = 'no number'", "photo_key = 'nobody'"])
@pytest.mark.parametrize("mended", [True, False])
def test_a_damaged_entry_of_the_changelog_hides_no_change(catalog: sqlite3.Connection, harm: str, mended: bool) -> None:
    filters = ColumnFilters()
    assert filters.at(catalog, "now") is not None
    catalog.execute("UPDATE photos SET camera = 'Nikon' WHERE key = 3")
    catalog.execute(f"UPDATE changelog SET {harm} WHERE number = (SELECT max(number) FROM changelog)")
    if mended:
        soundness.prepare(catalog)
        for one in list(soundness.unsound(catalog)):
            if one.table == "changelog":
                _replace(catalog, one)
    catalog.execute("UPDATE photos SET camera = 'Leica' WHERE key = 5")
    filters.at(catalog, "now")
    assert found(catalog, filters, "camera:nikon") == [3]
    assert found(catalog, filters, "camera:leica") == [5]


def test_what_was_read_before_everything_was_read_anew_is_not_kept(catalog: sqlite3.Connection) -> None:
    lists = WordLists()
    for _ in range(3):
        asked = lists.at(catalog, parts=False, when="now")
        assert asked is not None and asked.all_words(["dog"], None)
        changelog.start_anew(catalog)
    asked = lists.at(catalog, parts=False, when="now")
    assert asked is not None and asked.all_words(["beach"], None)
    assert len({id(changes) for changes, *_ in lists._words._table._kept.values()}) == 1


def test_words_that_are_no_text_fail_no_search(catalog: sqlite3.Connection) -> None:
    lists = WordLists()
    assert lists.at(catalog, parts=False, when="now") is not None
    catalog.execute("UPDATE words_content SET c1 = CAST(x'ff20646f67' AS TEXT) WHERE id = 4")
    changelog.note(catalog, [4])
    asked = lists.at(catalog, parts=False, when="now")
    assert asked is not None and sorted(asked.all_words(["dog"], None)) == [1, 2, 3, 4, 5, 6]
