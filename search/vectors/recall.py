"""How much of what is nearest an approximate index finds, and how far it must look for that: measured on the library's
own embeddings, with photos and with texts, which lie elsewhere than photos do and ask more of an index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from search.vectors.inverted import InvertedIndex, Tuning
from search.vectors.protocol import Floats, Keys
from search.vectors.selection import best_first

AT = 10
"""Recall is that of so many nearest ones."""
EACH = 512
"""So many photos are asked with, and as many texts."""
_KEPT = 2 * AT  # some may be deleted before the lists are made anew
_BREADTHS = (0.0, 0.15, 0.25, 0.35, 0.5)
_LEAST = 1024  # vectors
_ROUGHLY = 4
_STEPS = 3  # of halving what lies between too few and enough
_RESERVE = 0.5  # of what is allowed to be missed is kept for other queries than those
_HARDLY = 0.001
_AS_NEAR = 0.0002  # less than what a byte for each dimension moves a cosine by
_WITHOUT_TEXTS = 8  # times as far as photos need


def fetched(k: int) -> int:
    """How many of an approximate index's best ones are compared exactly, for the `k` best."""
    return k + min(k // 2, 128) + 8


@dataclass(frozen=True)
class Probes:
    """Queries, and what is nearest to them.

    Attributes:
        queries: float32[q, d].
        own: int64[q], the photo that each of them is, which does not count for an answer; -1 for texts.
        nearest: int64[q, m], the nearest photos, best first; -1 where no more are known.
        scores: float32[q, m], their cosines.
        certain: float32[q], the cosine down to which they are known to be the nearest: below it some may have been
            forgotten when others were deleted.
    """

    queries: Floats
    own: Keys
    nearest: Keys
    scores: Floats
    certain: Floats

    @classmethod
    def of(cls, queries: Floats, own: Keys) -> Probes:
        """Probes that have seen no photo yet."""
        shape = (len(queries), _KEPT)
        nothing = np.full(len(queries), -np.inf, np.float32)
        return cls(queries, own, np.full(shape, -1, np.int64), np.full(shape, -np.inf, np.float32), nothing)

    def seen(self, keys: Keys, vectors: Floats) -> Probes:
        """The same after further photos: `keys`, int64[n], with float32[n, d]."""
        scores = self.queries @ vectors.T
        scores[(self.own[:, None] == keys) | (scores < self.certain[:, None])] = -np.inf
        keys = np.broadcast_to(keys, scores.shape)
        if scores.shape[1] > _KEPT:
            best = np.argpartition(-scores, _KEPT, axis=1)[:, :_KEPT]
            keys, scores = np.take_along_axis(keys, best, axis=1), np.take_along_axis(scores, best, axis=1)
        return self._sorted(np.hstack([self.nearest, keys]), np.hstack([self.scores, scores]))

    def without(self, gone: Keys) -> Probes:
        """The same after photos have gone; queries that were such photos, or know too few others, go, too."""
        lost = np.isin(self.nearest, gone)
        scores = np.where(lost, -np.inf, self.scores).astype(np.float32)
        left = np.where(np.isneginf(scores), np.inf, scores).min(axis=1)
        certain = np.where(lost.any(axis=1), np.maximum(self.certain, left), self.certain).astype(np.float32)
        few = ((self.nearest >= 0) & ~lost).sum(axis=1) < AT
        kept = ~np.isin(self.own, gone) & ~(lost.any(axis=1) & few)
        return replace(self, scores=scores, certain=certain)._sorted(self.nearest, scores).some(kept)

    def and_of(self, others: Probes) -> Probes:
        """These and others."""
        return Probes(*(np.concatenate([getattr(self, name), getattr(others, name)]) for name in _FIELDS))

    def some(self, places: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Probes:
        """Those at these places."""
        return Probes(*(getattr(self, name)[places] for name in _FIELDS))

    def recall(self, search: Callable[[Floats, int], tuple[Floats, Keys]]) -> dict[str, float]:
        """The share of the `AT` nearest that a search for them compares exactly, of `photos` and of `texts`, as far as
        there are such queries. In their places others count that are as near: of a hundred photos that are all but
        the same, any ten are the nearest."""
        scores, found = search(self.queries, fetched(AT) + 1)
        own = found == self.own[:, None]
        compared = ~own & (np.arange(found.shape[1]) < fetched(AT) + own.any(axis=1)[:, None]) & (found >= 0)
        nearest, known = self.nearest[:, :AT], (self.nearest[:, :AT] >= 0).sum(axis=1)
        hits = ((found[:, :, None] == nearest[:, None]).any(axis=2) & compared).sum(axis=1)
        last = self.scores[np.arange(len(known)), np.maximum(known, 1) - 1]
        as_near = ((scores >= last[:, None] - _AS_NEAR) & compared).sum(axis=1)
        shares = np.minimum(np.maximum(hits, as_near), known) / np.maximum(known, 1)
        kinds = {"photos": (self.own >= 0) & (known > 0), "texts": (self.own < 0) & (known > 0)}
        return {kind: round(float(shares[rows].mean()), 4) for kind, rows in kinds.items() if rows.any()}

    def write(self, file: Path) -> None:
        """Keep them in `file` (.npz)."""
        np.savez(file, **{name: getattr(self, name) for name in _FIELDS})

    @classmethod
    def read(cls, file: Path) -> Probes:
        """What `write` wrote.

        Raises:
            OSError, ValueError, KeyError: it is missing or damaged.
        """
        with np.load(file, allow_pickle=False) as kept:
            return cls(*(kept[name] for name in _FIELDS))

    def _sorted(self, keys: Keys, scores: Floats) -> Probes:
        scores, keys = best_first(scores, np.where(np.isneginf(scores), -1, keys))
        return replace(self, nearest=keys[:, :_KEPT], scores=scores[:, :_KEPT])


_FIELDS = tuple(each.name for each in fields(Probes))


def tuned(index: InvertedIndex, probes: Probes, target: float, *, breadths: Sequence[float] = _BREADTHS) -> Tuning:
    """The least that finds `target` of the nearest, for photos and for texts alike; or, where that cannot be had, that
    from which on twice as much finds hardly more."""
    total = len(index)

    def recall(visited: int, breadth: float, asked: Probes) -> dict[str, float]:
        tuning = replace(index.tuning, visited=visited, breadth=breadth)
        return asked.recall(lambda queries, k: index.search_as(tuning, queries, k))

    def worst(visited: int, breadth: float, asked: Probes) -> float:
        return min(recall(visited, breadth, asked).values(), default=1.0)

    def doubled(asked: Probes, start: int, breadths: Sequence[float]) -> tuple[int, float, float]:
        """How much is enough by steps of two, with which breadth, and what that finds."""
        before = 0.0
        while True:
            found, breadth = max((worst(start, breadth, asked), breadth) for breadth in breadths)
            if found >= wanted or found - before < _HARDLY or start >= total:
                return start, breadth, found
            start, before = min(2 * start, total), found

    # Some of them tell how lists are best chosen, and about how far one must look; all tell how far exactly.
    wanted = target + _RESERVE * (1 - target)
    some = probes.some(np.arange(0, len(probes.own), _ROUGHLY))
    enough, breadth, _ = doubled(some, min(_LEAST, total), breadths)
    enough, _, found = doubled(probes, enough, (breadth,))
    wanted = min(wanted, found)
    too_few = enough // 2
    for _ in range(_STEPS):
        middle = (too_few + enough) // 2
        if worst(middle, breadth, probes) >= wanted:
            enough = middle
        else:
            too_few = middle
    measured = recall(enough, breadth, probes)
    if "texts" not in measured:
        enough = min(_WITHOUT_TEXTS * enough, total)
    return replace(index.tuning, visited=enough, breadth=breadth, target=target, recall=measured)
