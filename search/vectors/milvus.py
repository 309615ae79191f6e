"""Vectors in a collection of Milvus, as one of the home's vector indexes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from search.milvus.client import MOST, Server
from search.milvus.schema import EXACT, search_parameters
from search.vectors.protocol import Floats, Keys
from search.vectors.selection import Remembered, best_first, contained

_LISTED = 8_192
"""Keys in one condition: about 100 kB, which a server parses in milliseconds."""
_FEW = 4 * _LISTED
"""So few allowed photos are named; of more, what is found is looked through for them first."""
_READ = 2_048  # vectors in one answer
_ROWS = 65_536  # hits of all queries in one answer
_SPARE = 64


class MilvusIndex:
    """A `VectorIndex` over a collection that others may write to meanwhile: it answers with the photos that it was
    opened for, and with no others. Safe to use from many threads.

    Milvus applies filters while it searches, but takes none with millions of keys, and gives at most 16,384 hits. So
    few allowed photos are named, in parts; where many are allowed, more hits are fetched than were asked for, and those
    not allowed are dropped; where that is not enough, because what is near is what is not allowed, the keys are halved,
    again and again, until a part can be named.
    """

    def __init__(self, server: Server, collection: str, kind: str, keys: Keys, dimensions: int) -> None:
        """Search `collection`, whose vectors float32[n, dimensions] have an index of `kind`, `flat` or `hnsw`, for
        the photos `keys`, int64[n]."""
        self._server, self._collection, self._kind = server, collection, kind
        self._keys = np.ascontiguousarray(keys, np.int64)
        self._sorted = np.sort(self._keys)
        self._dimensions = dimensions
        self._passing = Remembered(self._pass)
        self._whole = Passing(self._sorted, np.ones(len(keys), np.bool_))

    @property
    def is_exact(self) -> bool:
        """See `VectorIndex.is_exact`: whether the server compares every vector."""
        return self._kind == EXACT

    @property
    def keys(self) -> Keys:
        """See `VectorIndex.keys`."""
        return self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def search(self, queries: Floats, k: int, *, allowed: Keys | None = None) -> tuple[Floats, Keys]:
        """See `VectorIndex.search`.

        Raises:
            UnreachableError, MilvusError: Milvus does not answer, or refuses.
        """
        passing = self._whole if allowed is None else self._passing.of(allowed)
        k = min(k, len(passing.keys))
        queries = np.ascontiguousarray(queries, np.float32)
        if k <= 0:
            return np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        if self._are_few(len(passing.keys), len(self)):
            return self._of_named(queries, k, passing.keys)
        fetch = _enough(k, len(self) / len(passing.keys))
        parts = [self._part(0, len(self), fetch, hits, passing) for hits in self._hits(queries, fetch, "")]
        found = [
            self._refined(query, k, passing, [part]) if part.bound > -np.inf else (part.scores, part.keys)
            for query, part in zip(queries, parts, strict=True)
        ]
        return _padded([scores for scores, _ in found], [keys for _, keys in found], k)

    def vectors(self, keys: Keys) -> tuple[Keys, Floats]:
        """See `VectorIndex.vectors`."""
        own = np.flatnonzero(contained(keys, self._keys)) if len(keys) else np.empty(0, np.int64)
        found = np.zeros((len(own), self._dimensions), np.float32)
        known = np.zeros(len(own), np.bool_)
        for start in range(0, len(own), _READ):
            part = keys[own[start : start + _READ]]
            condition = f"key in {part.tolist()}"
            rows = {row["key"]: row["vector"] for row in self._server.rows(self._collection, condition, _VECTOR)}
            for place, key in enumerate(part.tolist(), start=start):
                if key in rows:
                    found[place], known[place] = rows[key], True
        return own[known], found[known]

    def _pass(self, allowed: Keys) -> Passing:
        table = contained(self._sorted, allowed) if len(self._sorted) else np.empty(0, np.bool_)
        return Passing(self._sorted[table], table)

    def _are_few(self, passing: int, among: int) -> bool:
        """Whether those that pass are better named than looked for."""
        return passing < among and (passing <= _LISTED or (passing <= _FEW and 2 * passing < among))

    def _refined(self, query: Floats, k: int, passing: Passing, parts: list[_Part]) -> tuple[Floats, Keys]:
        """The best `k` of one query. Of each part that may hold more of them than were seen, more are fetched, or it is
        halved; in the end what passes in it is named."""
        while True:
            scores, keys = np.concatenate([one.scores for one in parts]), np.concatenate([one.keys for one in parts])
            order = np.lexsort((keys, -scores))[:k]
            last = scores[order[-1]] if len(order) == k else -np.inf
            # With the score of the last one there may be photos with smaller keys.
            open_parts = [one for one in parts if one.bound > -np.inf and one.bound >= last]
            if not open_parts:
                return scores[order], keys[order]
            for part in open_parts:
                parts.remove(part)
                parts += self._smaller(query, k, passing, part)

    def _smaller(self, query: Floats, k: int, passing: Passing, part: _Part) -> list[_Part]:
        low, high, middle = part.low, part.high, (part.low + part.high) // 2
        if part.fetched < MOST:
            return [self._searched(query, passing, low, high, min(MOST, 4 * part.fetched))]
        found = []
        for start, end in ((low, middle), (middle, high)):
            among = passing.between(self._sorted, start, end)
            if len(among) <= _LISTED:
                scores, keys = (rows[0] for rows in self._of_named(query[None], k, among))
                held = keys >= 0
                found.append(_Part(start, end, MOST, scores[held], keys[held], -np.inf))
            else:
                found.append(self._searched(query, passing, start, end, MOST))
        return found

    def _searched(self, query: Floats, passing: Passing, low: int, high: int, fetch: int) -> _Part:
        condition = ""
        if (low, high) != (0, len(self)):
            condition = f"key >= {self._sorted[low]} and key <= {self._sorted[high - 1]}"
        return self._part(low, high, fetch, next(self._hits(query[None], fetch, condition)), passing)

    def _part(self, low: int, high: int, fetch: int, hits: tuple[Floats, Keys], passing: Passing) -> _Part:
        scores, keys = hits
        kept = np.flatnonzero(passing.of(self._sorted, keys))
        # A graph may give fewer than there are, so that then only the number of those that pass tells the end.
        bound = float(scores[-1]) if len(keys) else np.inf
        if (self.is_exact and len(keys) < fetch) or len(kept) == len(passing.between(self._sorted, low, high)):
            bound = -np.inf
        return _Part(low, high, fetch, scores[kept], keys[kept], bound)

    def _of_named(self, queries: Floats, k: int, keys: Keys) -> tuple[Floats, Keys]:
        """The best of the photos `keys`, each of which the search names: float32[n, j] and int64[n, j]."""
        parts = []
        k = min(k, len(keys))
        for start in range(0, len(keys), _LISTED):
            some = keys[start : start + _LISTED]
            condition = f"key in {some.tolist()}"
            limit = min(len(some), 2 * k + _SPARE)
            hits = list(self._hits(queries, limit, condition))
            if not self.is_exact and any(len(scores) < limit for scores, _ in hits):
                # The graph lost its way among those that do not pass; a cluster compares them all by itself then.
                hits = list(self._compared(queries, some))
            elif limit < len(some) and any(len(scores) == limit and scores[-1] >= scores[k - 1] for scores, _ in hits):
                # Photos of the same score may have smaller keys.
                hits = list(self._hits(queries, len(some), condition))
            parts.append(_padded([scores for scores, _ in hits], [keys for _, keys in hits], k))
        return _merged(parts, len(queries), k)

    def _compared(self, queries: Floats, keys: Keys) -> Iterator[tuple[Floats, Keys]]:
        """As `_hits`, of every one of the photos `keys`, whose vectors are fetched for that."""
        places, vectors = self.vectors(keys)
        for query in queries:
            scores = vectors @ query
            order = np.lexsort((keys[places], -scores))
            yield scores[order], keys[places][order]

    def _hits(self, queries: Floats, limit: int, condition: str) -> Iterator[tuple[Floats, Keys]]:
        """For each query the best `limit` photos that meet a condition, best first, ties by key."""
        at_once = max(1, _ROWS // limit)
        for start in range(0, len(queries), at_once):
            answers = self._server.read(
                "search",
                self._collection,
                data=list(queries[start : start + at_once]),
                anns_field="vector",
                filter=condition,
                limit=limit,
                output_fields=["key"],
                search_params=search_parameters(self._kind, limit),
                consistency_level="Strong",
            )
            for hits in answers:
                scores = np.fromiter((hit["distance"] for hit in hits), np.float32, len(hits))
                keys = np.fromiter((hit["key"] for hit in hits), np.int64, len(hits))
                order = np.lexsort((keys, -scores))
                yield scores[order], keys[order]


_VECTOR = ("key", "vector")


@dataclass(eq=False)
class _Part:
    """What is known of the photos at some places of the sorted keys.

    Attributes:
        low, high: those places.
        fetched: how many hits were asked for.
        scores, keys: float32[n] and int64[n], those of them that pass.
        bound: the score that others may have at most; -inf where there are no others.
    """

    low: int
    high: int
    fetched: int
    scores: Floats
    keys: Keys
    bound: float


@dataclass(frozen=True)
class Passing:
    """Photos of an index that may answer: int64[m], sorted, and for each photo of it whether it is one of them."""

    keys: Keys
    table: npt.NDArray[np.bool_]

    def between(self, of: Keys, low: int, high: int) -> Keys:
        """Those at the places `low` to `high` of the sorted keys `of`."""
        return of[low:high][self.table[low:high]]

    def of(self, of: Keys, keys: Keys) -> npt.NDArray[np.bool_]:
        """Which of `keys` pass, bool[n]; one that the index does not have does not."""
        places = np.searchsorted(of, keys).clip(max=len(of) - 1)
        passes: npt.NDArray[np.bool_] = (of[places] == keys) & self.table[places]
        return passes


def _enough(k: int, selectivity: float) -> int:
    """How many hits to fetch so that `k` of them pass, where one in `selectivity` does."""
    return min(MOST, int(k * selectivity * 1.25) + _SPARE)


def _padded(scores: list[Floats], keys: list[Keys], k: int) -> tuple[Floats, Keys]:
    """The best `k` of each query side by side, what is missing as -inf and -1."""
    width = min(k, max((len(one) for one in keys), default=0))
    all_scores = np.full((len(scores), width), -np.inf, np.float32)
    all_keys = np.full((len(keys), width), -1, np.int64)
    for row, (some_scores, some_keys) in enumerate(zip(scores, keys, strict=True)):
        found = min(width, len(some_keys))
        all_scores[row, :found], all_keys[row, :found] = some_scores[:found], some_keys[:found]
    return all_scores, all_keys


def _merged(parts: list[tuple[Floats, Keys]], queries: int, k: int) -> tuple[Floats, Keys]:
    if not parts:
        return np.empty((queries, 0), np.float32), np.empty((queries, 0), np.int64)
    scores, keys = (np.concatenate(side, axis=1) for side in zip(*parts, strict=True))
    scores, keys = best_first(scores, keys)
    return scores[:, :k], keys[:, :k]
