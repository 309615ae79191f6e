"""What a search sees: one committed state of one model's vectors, which never changes under it."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from search import background
from search.background import Background, Levels
from search.catalog import model_records, settings
from search.catalog.connection import one_state
from search.catalog.model_records import ModelRecord
from search.home import Home
from search.ranking import less_their_level
from search.vectors import stored
from search.vectors.flat import FlatIndex
from search.vectors.generations import newest, open_generation
from search.vectors.protocol import Floats, Keys, VectorIndex
from search.vectors.recall import fetched
from search.vectors.selection import contained

_LIVE = "SELECT key FROM photos WHERE orphaned_at IS NULL ORDER BY key"
_SAMPLE = 512
_COMPARED = 128  # further down, an answer is pages away
_MOST_PIECES = 32  # then they are read anew as one: each costs every search a little


@dataclass(frozen=True)
class Snapshot:
    """A published generation, the embeddings committed since, and the keys of the photos that are there now.

    Attributes:
        revision: the catalog's revision that it shows.
        base: the published index, covering embeddings up to number `through`; `generation` is its number, None where it
            was built from the catalog.
        newest: the number of the newest generation when it was read, whether that one was whole or not.
        recent: those committed after it, in pieces, one for each time that new ones were seen.
        seen: the number of the last embedding in them.
        live: int64[m], sorted: the photos that may answer, which have an embedding of this model and a file.
        levels: float32[m], how near each of them is to texts in general (see `search.background`).
        background: what is to be expected of a text in this library; None before it was measured.
        measured: what `levels` are of, for the next snapshot.
    """

    revision: int
    model: ModelRecord
    base: VectorIndex
    through: int
    generation: int | None
    newest: int | None
    recent: tuple[VectorIndex, ...]
    seen: int
    live: Keys
    levels: Floats
    background: Background | None
    measured: Levels | None = None

    def search_text(
        self,
        connection: sqlite3.Connection,
        query: Floats,
        k: int,
        *,
        hub_weight: float,
        allowed: Keys | None = None,
    ) -> tuple[Floats, Keys, Floats]:
        """The `k` best photos for a text's embedding, float32[d], by similarity less `hub_weight` of their level.

        Returns:
            scores float32[j], keys int64[j] and cosines float32[j], j <= k.
        """
        among = self.live if allowed is None else allowed

        def nearest(depth: int) -> tuple[Floats, Keys, Floats]:
            cosines, keys = self.search(connection, query, depth, allowed=among)
            return cosines, keys, self.levels[np.searchsorted(self.live, keys)]

        return less_their_level(nearest, k, hub_weight, float(self.levels.min()) if len(self.levels) else 0.0)

    def search(
        self, connection: sqlite3.Connection, query: Floats, k: int, *, allowed: Keys | None = None
    ) -> tuple[Floats, Keys]:
        """The `k` best photos for `query` (float32[d]) among those `allowed`, by default the live ones: cosines
        float32[j] and keys int64[j], j <= k.

        Those of an index that is not exact are compared anew with the embeddings in the catalog, which `connection`
        reads: the best of them, since the others would hardly change their places.
        """
        among = self.live if allowed is None else allowed
        found = [
            self._found(connection, index, old, query, k, among)
            for index, old in zip((self.base, *self.recent), self._superseded, strict=True)
            if len(index)
        ]
        scores = np.concatenate([scores for scores, _ in found]) if found else np.empty(0, np.float32)
        keys = np.concatenate([keys for _, keys in found]) if found else np.empty(0, np.int64)
        scores, keys = scores[keys >= 0], keys[keys >= 0]
        order = np.lexsort((keys, -scores))[:k]
        return scores[order], keys[order]

    def _found(
        self, connection: sqlite3.Connection, index: VectorIndex, old: Keys, query: Floats, k: int, among: Keys
    ) -> tuple[Floats, Keys]:
        """What one index finds, but for photos whose vectors in it are `old`."""
        fetch = (k if index.is_exact else fetched(k)) + len(old)
        scores, keys = (rows[0] for rows in index.search(query[None], fetch, allowed=among))
        if not index.is_exact:
            best = keys[: min(fetch, _COMPARED)]
            places, vectors = stored.of_photos(connection, self.model.key, best, self.model.dimensions)
            scores[places] = vectors @ query
        now = ~np.isin(keys, old)
        return scores[now], keys[now]

    @functools.cached_property
    def _superseded(self) -> tuple[Keys, ...]:
        """Of each index the photos that a later one has, too, since they were embedded anew."""
        later = np.empty(0, np.int64)
        found = []
        for index in reversed((self.base, *self.recent)):
            found.append(index.keys[contained(index.keys, later)] if len(later) else later)
            later = np.concatenate([later, index.keys])
        return tuple(reversed(found))

    def vectors(self, keys: Keys) -> Floats:
        """The embeddings of the live photos `keys` (int64[n]): float32[n, d]."""
        found = np.zeros((len(keys), self.model.dimensions), np.float32)
        for index in (self.base, *self.recent):
            if len(index):
                places, vectors = index.vectors(keys)
                found[places] = vectors
        return found

    @functools.cached_property
    def pair_distance(self) -> float:
        """The distance (1 - cosine) that one in ten pairs of the library's photos does not exceed, by an even sample of
        them: what is near in this library, for this model; 0 where there are fewer than two photos."""
        return pair_distance(self.vectors(self.live[sample(len(self.live))])) if len(self.live) > 1 else 0.0


def sample(count: int) -> Keys:
    """The places of an even sample of `count` things, int64[n]."""
    return np.linspace(0, count - 1, min(count, _SAMPLE)).astype(np.int64)


def pair_distance(vectors: Floats) -> float:
    """The distance (1 - cosine) that one in ten pairs of embeddings, float32[n, d] with n > 1, does not exceed."""
    return float(np.quantile((1 - vectors @ vectors.T)[np.triu_indices(len(vectors), 1)], 0.1))


def take(
    home: Home,
    connection: sqlite3.Connection,
    before: Snapshot | None,
    shown: Callable[[ModelRecord], ModelRecord] = lambda active: active,
    live: Callable[[sqlite3.Connection], Keys | None] = lambda connection: None,
) -> Snapshot | None:
    """The state committed now; `before` itself when nothing changed, and its index where that still serves. It is one
    of the model that answers, or of the one that `shown` puts in its place. `live` gives the photos that are there,
    int64[n], sorted, where that is known already.

    Returns None when no model has embedded anything yet.
    """
    with one_state(connection):
        revision = settings.revision(connection)
        if before is not None and before.revision == revision:
            return before
        model = model_records.active(connection)
        if model is None:
            return None
        model = shown(model)
        generation = newest(connection, model.key)
        published = generation.key if generation else None
        # Not what it covers: one that was published anew in place of a damaged one covers no more than that did.
        if before is not None and before.model == model and published == before.newest:
            base, through, number = before.base, before.through, before.generation
            recent, seen = (before.recent, before.seen) if len(before.recent) < _MOST_PIECES else ((), through)
        else:
            base, through, number = open_generation(home, connection, model)
            recent, seen = (), through
        keys, vectors, seen = stored.load(connection, model.key, model.dimensions, after=seen)
        if len(keys):
            recent = (*recent, FlatIndex(keys, vectors))
        embedded = np.concatenate([index.keys for index in (base, *recent)])
        there = live(connection)
        if there is None:
            there = np.fromiter(connection.execute(_LIVE), dtype=[("key", np.int64)])["key"]
        there = there[contained(there, embedded)]
        measured = Levels.read(connection, model.key, before.measured if before else None)
        expected = background.read(connection, model.key)
        return Snapshot(
            revision,
            model,
            base,
            through,
            number,
            published,
            recent,
            seen,
            there,
            measured.of(there),
            expected,
            measured,
        )
