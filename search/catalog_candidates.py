"""The candidates of a home: its catalog, and the vectors of a snapshot."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from search.background import Background
from search.catalog import words
from search.catalog.photo import Photo, live_ids, photo_by_id, photos_by_key
from search.column_filters import ColumnFilters
from search.columns import by_date
from search.filters import condition
from search.moments import moments
from search.postings import UnfitError
from search.query import Query
from search.vectors import stored
from search.vectors.protocol import Floats, Keys
from search.vectors.selection import contained
from search.vectors.snapshot import Snapshot
from search.word_lists import WordLists

if TYPE_CHECKING:
    from search.ranking_settings import RankingSettings


class CatalogCandidates:
    """`Candidates` of one snapshot."""

    def __init__(
        self,
        query: Query,
        snapshot: Snapshot,
        connection: sqlite3.Connection,
        word_lists: WordLists,
        filters: ColumnFilters,
    ) -> None:
        """Those of `snapshot` that pass the filters of `query`; `connection` sees the state that the snapshot shows."""
        self._query, self._snapshot, self._connection, self._words = query, snapshot, connection, word_lists
        self._filters = filters
        self._among = snapshot.live
        self._liked: list[int] = []
        self._allowed = filters.allowed(connection, query)
        if self._allowed is not None:
            self._among = self._allowed[contained(self._allowed, snapshot.live)]

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
        _, parts, _ = words.literally(self._query.words, self._query.exact)
        if lists := self._words.at(self._connection, parts=bool(parts)):
            with suppress(UnfitError):
                return {
                    "literal": lists.written(self._query.words, self._query.exact, self._allowed, self._liked),
                    "all words": lists.all_words(asked, self._allowed, self._liked),
                    "some words": lists.some_words(asked, self._allowed, self._liked),
                }
        sql, values = condition(self._query)
        where = f"{sql} AND photos.key NOT IN (SELECT value FROM json_each(?))", [*values, json.dumps(self._liked)]
        return {
            "literal": words.written(self._connection, self._query.words, self._query.exact, *where),
            "all words": words.ranked(self._connection, words.match_all(asked), *where),
            "some words": words.ranked(self._connection, words.said(words.match_some(asked)), *where),
        }

    def newest(self, count: int) -> tuple[int, Keys]:
        """See `Candidates.newest`."""
        return self._filters.newest(self._connection, self._query, count)

    def by_date(self, keys: Keys) -> Keys:
        """See `Candidates.by_date`."""
        return by_date(self._connection, keys)

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
