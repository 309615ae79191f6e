"""Pages of hits from a collection: what is known of photos, their snippets, and what they have in common.

Snippets and counts are made by the same code as for a catalog, from a catalog in memory that holds the photos of one
page alone.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace

from search.catalog import words
from search.catalog.photo import Photo
from search.facets import Facets, facets
from search.milvus.candidates import rows_of
from search.milvus.client import Server
from search.milvus.entities import DESCRIBING, Described, described
from search.milvus.facts import Facts
from search.overview import Overview
from search.vectors.protocol import Keys

MOST_COUNTED = 2_000
"""Of so many hits, the best ones, it is counted what they have in common: each has to be fetched."""
_AT_ONCE = 500
_TABLES = f"""
CREATE VIRTUAL TABLE words USING fts5 ({", ".join(words.FIELDS)}, tokenize = '{words.WORDS_TOKENIZER}');
CREATE VIRTUAL TABLE parts USING fts5 (text, name, tokenize = '{words.PARTS_TOKENIZER}');
CREATE TABLE photos (key INTEGER PRIMARY KEY, camera, format, kind, width, height, taken_at, sort_at, orphaned_at);
CREATE TABLE libraries (key INTEGER PRIMARY KEY, path);
CREATE TABLE files (photo_key, library_key, folder);
CREATE TABLE tags (photo_key, tag COLLATE NOCASE);
CREATE TABLE tag_names (name, tag COLLATE NOCASE);
"""


class CollectionDescriptions:
    """`Descriptions` from a collection; for one answer, in one thread."""

    def __init__(self, facts: Facts, server: Server) -> None:
        self._facts, self._server = facts, server
        self._known: dict[int, Described] = {}

    def ids(self, keys: Sequence[int]) -> Mapping[int, str]:
        """See `Descriptions.ids`."""
        return {key: one.photo.id for key, one in self.described(keys).items()}

    def photos(self, keys: Sequence[int]) -> Mapping[int, Photo]:
        """See `Descriptions.photos`."""
        return {key: one.photo for key, one in self.described(keys).items()}

    def marked(
        self, asked: Sequence[str], exact: Sequence[str], keys: Sequence[int]
    ) -> Mapping[int, list[tuple[str, str]]]:
        """See `Descriptions.marked`."""
        with _catalog_of(self.described(keys).values()) as connection:
            return words.marked(connection, asked, exact, keys)

    def facets(self, keys: Keys) -> Facets:
        """What the first `MOST_COUNTED` of these photos have in common."""
        known = self.described(keys[:MOST_COUNTED].tolist())
        # Counted from 1: arrays by key would be as long as the highest.
        counted = {
            number: replace(one, photo=replace(one.photo, key=number)) for number, one in enumerate(known.values(), 1)
        }
        with _catalog_of(counted.values()) as connection:
            roots = [library["path"] for library in self._facts.status["libraries"]]
            connection.executemany("INSERT INTO libraries VALUES (?, ?)", enumerate(map(os.fsencode, roots)))
            connection.execute(
                "UPDATE files SET library_key = (SELECT key FROM libraries WHERE folder = path OR"
                " substr(CAST(folder AS TEXT), 1, length(CAST(path AS TEXT)) + 1) = CAST(path AS TEXT) || ?"
                " ORDER BY length(path) LIMIT 1)",
                (os.sep,),
            )
            return facets(Overview.read(connection), None)

    def described(self, keys: Sequence[int]) -> Mapping[int, Described]:
        """Those of the photos that are there."""
        missing = [int(key) for key in keys if key not in self._known]
        for row in rows_of(self._server, self._facts.collection, missing, list(DESCRIBING), _AT_ONCE):
            self._known[row["key"]] = described(row)
        return {int(key): self._known[key] for key in keys if key in self._known}


@contextmanager
def _catalog_of(photos: Iterable[Described]) -> Iterator[sqlite3.Connection]:
    """A catalog in memory with what is counted and marked of some photos."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript(_TABLES)
        for one in photos:
            photo = one.photo
            row = (photo.key, photo.camera, photo.format, photo.kind, photo.width, photo.height, photo.taken_at)
            connection.execute("INSERT INTO photos VALUES (?, ?, ?, ?, ?, ?, ?, NULL, NULL)", row)
            connection.execute(
                "INSERT INTO words (rowid, own, caption, tags, text, name) VALUES (?, ?, ?, ?, ?, ?)",
                (photo.key, *one.words[:5]),
            )
            connection.execute("INSERT INTO parts (rowid, text, name) VALUES (?, ?, ?)", (photo.key, *one.words[5:]))
            connection.executemany(
                "INSERT INTO files VALUES (?, NULL, ?)", [(photo.key, os.path.dirname(path)) for path in photo.paths]
            )
            connection.executemany("INSERT INTO tags VALUES (?, ?)", [(photo.key, tag) for tag, _ in one.tags])
            connection.executemany("INSERT INTO tag_names VALUES (?, ?)", one.called)
        yield connection
