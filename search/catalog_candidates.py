"""The candidates of a home: its catalog, and the vectors of a snapshot."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from search.background import Background
from search.catalog import words
from search.catalog.photo import Photo, live_ids, photo_by_id, photos_by_key
from search.filters import allowed_keys, condition
from search.moments import moments
from search.query import Query
from search.vectors import stored
from search.vectors.protocol import Floats, Keys
from search.vectors.snapshot import Snapshot
from search.word_lists import WordLists

if TYPE_CHECKING:
    from search.ranking_settings import RankingSettings


class CatalogCandidates:
    """`Candidates` of one snapshot."""

    def __init__(self, query: Query, snapshot: Snapshot, connection: sqlite3.Connection, word_lists: WordLists) -> None:
        """Those of `snapshot` that pass the filters of `query`; `connection` sees the state that the snapshot shows."""
        self._query, self._snapshot, self._connection, self._words = query, snapshot, connection, word_lists
        self._among = snapshot.live
        self._liked: list[int] = []
        self._allowed = allowed_keys(connection, query)
        if self._allowed is not None:
            self._among = self._allowed[np.isin(self._allowed, snapshot.live)]

    @property
    def background(self) -> Background | None:
        """See `Candidates.background`."""
        return self._snapshot.background

    @property
    def are_all(self) -> bool:
        """See `Candidates.are_all`."""
        return self._among is self._snapshot.live

    def __len__(self) -> int:
        return len(self._among)

    def embedding(self, photo_id: str) -> tuple[int, Floats] | None:
        """See `Candidates.embedding`."""
        model = self._snapshot.model
        photo = photo_by_id(self._connection, photo_id)
        vector = stored.of_photo(self._connection, model.key, photo.key, model.dimensions) if photo else None
        return None if photo is None or vector is None else (photo.key, vector)

    def leave_out(self, photo_id: str) -> None:
        """See `Candidates.leave_out`."""
        if photo := photo_by_id(self._connection, photo_id):
            self._among = self._among[self._among != photo.key]
            self._liked.append(photo.key)

    def nearest_to_text(
        self, vector: Floats, k: int, *, hub_weight: float, of_all: bool = False
    ) -> tuple[Floats, Keys, Floats]:
        """See `Candidates.nearest_to_text`."""
        allowed = None if of_all else self._among
        return self._snapshot.search_text(self._connection, vector, k, hub_weight=hub_weight, allowed=allowed)

    def nearest(self, vector: Floats, k: int) -> tuple[Floats, Keys]:
        """See `Candidates.nearest`."""
        return self._snapshot.search(self._connection, vector, k, allowed=self._among)

    def by_words(self) -> Mapping[str, Mapping[int, float]]:
        """See `Candidates.by_words`."""
        asked = self._query.words or self._query.exact  # the condition holds for the exact ones already
        sql, values = condition(self._query)
        where = f"{sql} AND photos.key NOT IN (SELECT value FROM json_each(?))", [*values, json.dumps(self._liked)]
        if self._words.are_settled(self._connection):
            every = self._words.all_words(self._connection, asked, self._allowed, self._liked)
            some = self._words.some_words(self._connection, asked, self._allowed, self._liked)
        else:
            every = words.ranked(self._connection, words.match_all(asked), *where)
            some = words.ranked(self._connection, words.said(words.match_some(asked)), *where)
        literal = words.written(self._connection, self._query.words, self._query.exact, *where)
        return {"literal": literal, "all words": every, "some words": some}

    def newest(self, count: int) -> tuple[int, Keys]:
        """See `Candidates.newest`."""
        sql, values = condition(self._query)
        total = self._connection.execute(f"SELECT count(*) FROM photos WHERE {sql}", values).fetchone()[0]
        rows = self._connection.execute(
            f"SELECT key FROM photos WHERE {sql} ORDER BY sort_at DESC, key DESC LIMIT ?", (*values, count)
        )
        return total, np.asarray([row[0] for row in rows], np.int64)

    def by_date(self, keys: Keys) -> Keys:
        """See `Candidates.by_date`."""
        rows = self._connection.execute(
            "SELECT key FROM photos WHERE key IN (SELECT value FROM json_each(?)) ORDER BY sort_at DESC, key DESC",
            (json.dumps(keys.tolist()),),
        )
        places = {key: place for place, key in enumerate(keys.tolist())}
        return np.asarray([places[row[0]] for row in rows], np.int64)

    def moments(self, keys: Keys, ranking: RankingSettings) -> dict[int, list[int]]:
        """See `Candidates.moments`."""
        return moments(self._connection, self._snapshot, keys, ranking)


class CatalogDescriptions:
    """`Descriptions` from a catalog."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def ids(self, keys: Sequence[int]) -> Mapping[int, str]:
        """See `Descriptions.ids`."""
        return live_ids(self._connection, keys)

    def photos(self, keys: Sequence[int]) -> Mapping[int, Photo]:
        """See `Descriptions.photos`."""
        return photos_by_key(self._connection, keys)

    def marked(
        self, asked: Sequence[str], exact: Sequence[str], keys: Sequence[int]
    ) -> Mapping[int, list[tuple[str, str]]]:
        """See `Descriptions.marked`."""
        return words.marked(self._connection, asked, exact, keys)
