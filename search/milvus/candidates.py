"""The candidates of a collection: filters go to Milvus as an expression, never as lists of photos."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from search.background import Background
from search.catalog import words
from search.catalog.words import DEPTH, Sought
from search.milvus.client import MOST, Row, Server
from search.milvus.expressions import both, condition
from search.milvus.facts import Facts
from search.milvus.fulltext import asked, parts_condition, words_condition
from search.milvus.schema import GRAPH, search_parameters
from search.moments import COLLAPSED, grouped
from search.query import Query
from search.ranking import less_their_level
from search.vectors.protocol import Doubles, Floats, Keys

if TYPE_CHECKING:
    from search.ranking_settings import RankingSettings

READ = "Bounded"
"""Nodes read what is at most some seconds old: no search waits for what is being written."""
_ID = re.compile(r"[0-9a-f]{1,64}")
_TIES = 16
_ROWS = 4_096  # rows in one answer that have no vectors
_VECTORS = 1_024


class CollectionCandidates:
    """`Candidates` of a collection."""

    def __init__(self, query: Query, facts: Facts, server: Server) -> None:
        """Those of the collection that pass the filters of `query`."""
        self._query, self._facts, self._server = query, facts, server
        self._filters = condition(query)
        self._left_out: list[int] = []
        self._count: int | None = None

    @property
    def background(self) -> Background | None:
        """See `Candidates.background`."""
        return self._facts.background

    @property
    def are_all(self) -> bool:
        """See `Candidates.are_all`."""
        return not self._filters and not self._left_out

    def __len__(self) -> int:
        if self._count is None:
            self._count = self._server.count(self._facts.collection, self._condition, READ)
        return self._count

    @property
    def _condition(self) -> str:
        return both(self._filters, f"not (key in {self._left_out})" if self._left_out else "")

    def embedding(self, photo_id: str) -> tuple[int, Floats] | None:
        """See `Candidates.embedding`."""
        row = one(self._server, self._facts.collection, photo_id, ["key", "vector"])
        return None if row is None else (row["key"], np.asarray(row["vector"], np.float32))

    def leave_out(self, photo_id: str) -> None:
        """See `Candidates.leave_out`."""
        if row := one(self._server, self._facts.collection, photo_id, ["key"]):
            self._left_out.append(row["key"])
            self._count = None

    def nearest_to_text(
        self, vector: Floats, k: int, *, hub_weight: float, of_all: bool = False
    ) -> tuple[Floats, Keys, Floats]:
        """See `Candidates.nearest_to_text`; of what lies deeper than a server gives, nothing."""
        where = "" if of_all else self._condition
        return less_their_level(
            lambda depth: self._search(vector, depth, where), k, hub_weight, self._facts.least_level, MOST
        )

    def nearest(self, vector: Floats, k: int) -> tuple[Floats, Keys]:
        """See `Candidates.nearest`."""
        cosines, keys, _ = self._search(vector, min(MOST, k + _TIES), self._condition)
        return cosines[:k], keys[:k]

    def by_words(self) -> Mapping[str, Mapping[int, float]]:
        """See `Candidates.by_words`. The photos in a list are those that the catalog's words would find; their order is
        that of Milvus' BM25, which knows no fields."""
        sought = self._query.words or self._query.exact  # the condition holds for the exact ones already
        return {
            "literal": self._written(words.written_sought(self._query.words, self._query.exact)),
            "all words": self._ranked(words.match_all(sought)),
            "some words": self._ranked(words.said(words.match_some(sought))),
        }

    def newest(self, count: int) -> tuple[int, Keys]:
        """See `Candidates.newest`."""
        total, where = len(self), self._condition
        if total > MOST:
            where = both(where, f'sort_at >= "{self._since(min(count, total))}"')
        found = self._server.all_rows(self._facts.collection, where, ["key", "sort_at"], READ)
        found.sort(key=lambda row: (row["sort_at"], row["key"]), reverse=True)
        return total, np.asarray([row["key"] for row in found[:count]], np.int64)

    def by_date(self, keys: Keys) -> Keys:
        """See `Candidates.by_date`."""
        dates = {row["key"]: row["sort_at"] for row in self._of(keys, ["key", "sort_at"], _ROWS)}
        order = sorted(range(len(keys)), key=lambda i: (dates.get(int(keys[i]), ""), int(keys[i])), reverse=True)
        return np.asarray(order, np.int64)

    def moments(self, keys: Keys, ranking: RankingSettings) -> dict[int, list[int]]:
        """See `Candidates.moments`."""
        keys = keys[:COLLAPSED]
        if len(keys) < 2:
            return {}
        rows = {row["key"]: row for row in self._of(keys, ["key", "vector", "taken_at", "apart"], _VECTORS)}
        keys = keys[[key in rows for key in keys.tolist()]]
        ordered = [rows[key] for key in keys.tolist()]
        vectors = np.asarray([row["vector"] for row in ordered], np.float32)
        minutes: Doubles = np.asarray([_minutes(row["taken_at"]) for row in ordered], np.float64)
        said = {row["key"]: {one for one in row["apart"] if one in rows} for row in ordered}
        said = {key: others for key, others in said.items() if others}
        return grouped(keys, vectors, minutes, self._facts.pair_distance, ranking, said)

    def _search(self, vector: Floats, limit: int, where: str) -> tuple[Floats, Keys, Floats]:
        """Cosines, keys and levels of the nearest."""
        hits = self._server.read(
            "search",
            self._facts.collection,
            data=[vector],
            anns_field="vector",
            filter=where,
            limit=limit,
            output_fields=["key", "level"],
            search_params=search_parameters(self._facts.kind, limit),
            consistency_level=READ,
        )[0]
        cosines = np.fromiter((hit["distance"] for hit in hits), np.float32, len(hits))
        keys = np.fromiter((hit["key"] for hit in hits), np.int64, len(hits))
        levels = np.fromiter((hit["entity"]["level"] for hit in hits), np.float32, len(hits))
        order = np.lexsort((keys, -cosines))
        if self._facts.kind == GRAPH and where and len(keys) < limit:
            passing = len(self)
            if len(keys) < min(limit, passing) and passing <= MOST:
                return self._compared(vector, limit, where)
        return cosines[order], keys[order], levels[order]

    def _compared(self, vector: Floats, limit: int, where: str) -> tuple[Floats, Keys, Floats]:
        """As `_search`, of every photo that meets the condition, where a graph loses its way among the others; a
        cluster compares them all by itself then."""
        fields = ["key", "level", "vector"]
        rows = self._server.all_rows(self._facts.collection, where, fields, READ, _VECTORS)
        cosines = np.asarray([np.asarray(row["vector"], np.float32) @ vector for row in rows], np.float32)
        keys = np.asarray([row["key"] for row in rows], np.int64)
        levels = np.asarray([row["level"] for row in rows], np.float32)
        order = np.lexsort((keys, -cosines))[:limit]
        return cosines[order], keys[order], levels[order]

    def _ranked(self, expression: str) -> dict[int, float]:
        """The photos in whose words an FTS5 expression holds, best first, with their BM25 scores."""
        found = asked(expression)
        if not found:
            return {}
        hits = self._server.read(
            "search",
            self._facts.collection,
            data=[" ".join(found)],
            anns_field="bm25",
            filter=both(self._condition, words_condition(expression)),
            limit=DEPTH,
            output_fields=["key"],
            search_params={"metric_type": "BM25", "params": {}},
            consistency_level=READ,
        )[0]
        # milvus-lite tells distances, the negated scores.
        scores = {hit["key"]: abs(float(hit["distance"])) for hit in hits}
        return dict(sorted(scores.items(), key=lambda pair: (-pair[1], pair[0])))

    def _written(self, sought: Sought) -> dict[int, float]:
        found = self._ranked(sought.words)
        if not sought.parts or len(found) >= DEPTH:
            return found
        some = " or ".join(parts_condition(part) for part, _ in sought.parts)
        each = [
            f"{parts_condition(part)} or {words_condition(word)}" if word else parts_condition(part)
            for part, word in sought.parts
        ]
        others = words_condition(sought.others) if sought.others else ""
        where = both(self._condition, some, others, *(each if len(each) > 1 else []))
        rows = self._server.rows(self._facts.collection, where, ["key"], READ)
        keys = sorted(row["key"] for row in rows)
        return found | dict.fromkeys((key for key in keys[:DEPTH] if key not in found), 0.0)

    def _since(self, wanted: int) -> str:
        """A moment since when so many photos were taken, or not many more."""

        def taken(since: datetime) -> int:
            bound = f'sort_at >= "{since.isoformat(timespec="seconds")}"'
            return self._server.count(self._facts.collection, both(self._condition, bound), READ)

        span, after = timedelta(days=1), datetime.max
        since = datetime.now()
        while taken(since) < wanted:
            after = since
            if since - datetime.min <= span:
                return ""
            since, span = since - span, 4 * span
        # Halved, until it is not much too early.
        while taken(since) > max(MOST, 2 * wanted) and after - since > timedelta(seconds=1):
            middle = since + (after - since) / 2
            since, after = (middle, after) if taken(middle) >= wanted else (since, middle)
        return since.isoformat(timespec="seconds")

    def _of(self, keys: Keys, fields: list[str], at_once: int) -> list[Row]:
        return rows_of(self._server, self._facts.collection, keys.tolist(), fields, at_once)


def one(server: Server, collection: str, photo_id: str, fields: list[str]) -> Row | None:
    """The photo with this id, or None."""
    if not _ID.fullmatch(photo_id):
        return None
    rows = server.rows(collection, f'id == "{photo_id}"', fields, READ)
    return rows[0] if rows else None


def rows_of(server: Server, collection: str, keys: list[int], fields: list[str], at_once: int) -> list[Row]:
    """The photos with these keys, those that are there, in any order."""
    found: list[Row] = []
    for start in range(0, len(keys), at_once):
        found += server.rows(collection, f"key in {keys[start : start + at_once]}", fields, READ)
    return found


def _minutes(taken_at: str) -> float:
    try:
        return datetime.fromisoformat(taken_at[:19]).replace(tzinfo=UTC).timestamp() / 60
    except ValueError:
        return float("nan")
