"""How much of what is nearest an approximate index finds, and how far it must look for that: measured on the library's
own embeddings, with photos and with texts, which lie elsewhere than photos do and ask more of an index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
_RESERVE = 0.25  # of what is allowed to be missed is kept for other queries than those
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
        nearest: int64[q, m], the nearest photos, best first; -1 where there are fewer.
        scores: float32[q, m], their cosines.
    """

    queries: Floats
    own: Keys
    nearest: Keys
    scores: Floats

    @classmethod
    def of(cls, queries: Floats, own: Keys) -> Probes:
        """Probes that have seen no photo yet."""
        shape = (len(queries), _KEPT)
        return cls(queries, own, np.full(shape, -1, np.int64), np.full(shape, -np.inf, np.float32))

    def seen(self, keys: Keys, vectors: Floats) -> Probes:
        """The same after further photos: `keys`, int64[n], with float32[n, d]."""
        scores = self.queries @ vectors.T
        scores[self.own[:, None] == keys] = -np.inf
        return self._with(np.broadcast_to(keys, scores.shape), scores)

    def without(self, gone: Keys) -> Probes:
        """The same after photos have gone; queries that were such photos go, too."""
        kept = ~np.isin(self.own, gone)
        nearest, scores = self.nearest[kept], self.scores[kept]
        lost = np.isin(nearest, gone)
        probes = Probes(
            self.queries[kept], self.own[kept], np.where(lost, -1, nearest), np.where(lost, -np.inf, scores)
        )
        return probes._with(nearest[:, :0], scores[:, :0])

    def and_of(self, others: Probes) -> Probes:
        """These and others."""
        pairs = ((getattr(self, name), getattr(others, name)) for name in ("queries", "own", "nearest", "scores"))
        return Probes(*(np.concatenate(pair) for pair in pairs))

    def some(self, places: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Probes:
        """Those at these places."""
        return Probes(self.queries[places], self.own[places], self.nearest[places], self.scores[places])

    def recall(self, search: Callable[[Floats, int], tuple[Floats, Keys]]) -> dict[str, float]:
        """The share of the `AT` nearest that a search for them compares exactly, of `photos` and of `texts`, as far as
        there are such queries."""
        _, found = search(self.queries, fetched(AT) + 1)
        nearest = self.nearest[:, :AT]
        hits = ((nearest[:, :, None] == found[:, None]).any(axis=2) & (nearest >= 0)).sum(axis=1)
        shares = hits / np.maximum((nearest >= 0).sum(axis=1), 1)
        kinds = {"photos": self.own >= 0, "texts": self.own < 0}
        return {kind: round(float(shares[rows].mean()), 4) for kind, rows in kinds.items() if rows.any()}

    def write(self, file: Path) -> None:
        """Keep them in `file` (.npz)."""
        np.savez(file, queries=self.queries, own=self.own, nearest=self.nearest, scores=self.scores)

    @classmethod
    def read(cls, file: Path) -> Probes:
        """What `write` wrote.

        Raises:
            OSError, ValueError, KeyError: it is missing or damaged.
        """
        with np.load(file, allow_pickle=False) as kept:
            return cls(*(kept[name] for name in ("queries", "own", "nearest", "scores")))

    def _with(self, keys: Keys, scores: Floats) -> Probes:
        if scores.shape[1] > _KEPT:
            best = np.argpartition(-scores, _KEPT, axis=1)[:, :_KEPT]
            keys, scores = np.take_along_axis(keys, best, axis=1), np.take_along_axis(scores, best, axis=1)
        keys = np.where(np.isneginf(scores), -1, keys)
        scores, keys = best_first(np.hstack([self.scores, scores]), np.hstack([self.nearest, keys]))
        return replace(self, nearest=keys[:, :_KEPT], scores=scores[:, :_KEPT])


def tuned(index: InvertedIndex, probes: Probes, target: float, *, breadths: Sequence[float] = _BREADTHS) -> Tuning:
    """The least that finds `target` of the nearest, for photos and for texts alike."""
    wanted = target + _RESERVE * (1 - target)
    total = len(index)

    def recall(visited: int, breadth: float, asked: Probes) -> dict[str, float]:
        tuning = replace(index.tuning, visited=visited, breadth=breadth)
        return asked.recall(lambda queries, k: index.search_as(tuning, queries, k))

    def worst(visited: int, breadth: float, asked: Probes) -> float:
        return min(recall(visited, breadth, asked).values(), default=1.0)

    # Some of them tell how lists are best chosen, and about how far one must look; all tell how far exactly.
    some = probes.some(np.arange(0, len(probes.own), _ROUGHLY))
    breadth, enough = breadths[0], min(_LEAST, total)
    while enough < total:
        least, breadth = max((worst(enough, breadth, some), breadth) for breadth in breadths)
        if least >= wanted:
            break
        enough = min(2 * enough, total)
    while enough < total and worst(enough, breadth, probes) < wanted:
        enough = min(2 * enough, total)
    too_few = enough // 2
    for _ in range(_STEPS):
        middle = (too_few + enough) // 2
        if worst(middle, breadth, probes) >= wanted:
            enough = middle
        else:
            too_few = middle
    found = recall(enough, breadth, probes)
    if "texts" not in found:
        enough = min(_WITHOUT_TEXTS * enough, total)
    return replace(index.tuning, visited=enough, breadth=breadth, target=target, recall=found)
