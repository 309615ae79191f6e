"""Putting ranked lists together, and judging where in a list the answer ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from search.background import Background
from search.vectors.protocol import Doubles, Floats, Keys

if TYPE_CHECKING:
    from search.ranking_settings import RankingSettings

_CLOSELY = 200
"""Of so many of the best photos scores are compared; further down a list a rank more or less earns the same."""


@dataclass(frozen=True)
class RankedList:
    """What one signal found.

    Attributes:
        kind: `meaning`, `image`, `literal`, `all words` or `some words`.
        keys: int64[n], photos, best first.
        relevant: how many of them, from the first on, belong to the answer in this signal's judgement; None where it
            has none, so that all may.
        scores: float32[n], what each has in this signal: a corrected similarity, a cosine or BM25.
        similarities: float32[n], its cosine; empty but where the signal compares embeddings.
        tolerance: the difference between two scores that says little; 0 where the order is all that is known.
    """

    kind: str
    keys: Keys
    relevant: int | None
    scores: Floats = field(default_factory=lambda: np.empty(0, np.float32))
    similarities: Floats = field(default_factory=lambda: np.empty(0, np.float32))
    tolerance: float = 0.0


def fuse(lists: Sequence[RankedList], ranking: RankingSettings) -> tuple[Keys, Doubles]:
    """Fuse ranked lists of photo keys into one, best first: keys int64[n], scores float64[n]; ties by the smaller key.

    A photo at rank r (from 1) of a list of weight w earns w / (constant + r). Lists whose scores cannot be compared (a
    cosine with a text, a cosine with a picture, BM25) need no calibration this way. Cormack, Clarke and Büttcher,
    “Reciprocal rank fusion outperforms Condorcet and individual rank learning methods”, SIGIR 2009.
    """
    if not lists:
        return np.empty(0, np.int64), np.empty(0, np.float64)
    keys, places = np.unique(np.concatenate([one.keys for one in lists]), return_inverse=True)
    earned = [
        getattr(ranking, f"{one.kind.replace(' ', '_')}_weight") / (ranking.fusion_constant + expected_ranks(one))
        for one in lists
    ]
    scores = np.asarray(np.bincount(places, np.concatenate(earned), len(keys)), np.float64)
    order = np.lexsort((keys, -scores))
    return keys[order], scores[order]


def less_their_level(
    nearest: Callable[[int], tuple[Floats, Keys, Floats]],
    k: int,
    hub_weight: float,
    least_level: float,
    most: int | None = None,
) -> tuple[Floats, Keys, Floats]:
    """The `k` best photos for a text by similarity less `hub_weight` of their level (see `search.background`).

    Args:
        nearest: gives so many of the nearest photos, best first: cosines float32[j], keys int64[j], levels float32[j].
        k: how many to return.
        hub_weight: how much of its level a photo loses.
        least_level: no photo has a lower one.
        most: the most that `nearest` can give; what lies below is passed over.

    Returns:
        scores float32[j], keys int64[j] and cosines float32[j], j <= k, best first, ties by the smaller key.
    """
    depth = 2 * k + 64 if most is None else min(2 * k + 64, most)
    least = hub_weight * least_level
    while True:
        cosines, keys, levels = nearest(depth)
        scores = cosines - hub_weight * levels
        order = np.lexsort((keys, -scores))[:k]
        # What was not fetched has a smaller cosine, and could make up for it by the least level at most.
        enough = len(keys) < depth or (len(order) == k and scores[order[-1]] >= cosines[-1] - least)
        if enough or depth == most:
            return scores[order], keys[order], cosines[order]
        depth = 4 * depth if most is None else min(4 * depth, most)


def expected_ranks(one: RankedList) -> Doubles:
    """The rank of each photo of a list, float64[n], from 1, growing; plain places unless the list has a `tolerance`.

    With one, it is the rank to be expected if every score were off by about as much: 1 and, for each other photo, the
    probability that it is better, a logistic function of the difference. So photos that are nearly as good have nearly
    the same rank, and what other lists say decides between them, where plain ranks would make as much of a
    thousandth as of a tenth. Taylor, Guiver, Robertson and Minka, “SoftRank: optimizing non-smooth rank metrics”,
    WSDM 2008.
    """
    ranks = np.arange(1, len(one.keys) + 1, dtype=np.float64)
    if one.tolerance > 0:
        best = one.scores[:_CLOSELY].astype(np.float64) / one.tolerance
        differences = np.clip(best[None] - best[:, None], -50, 50)
        # Each photo's comparison with itself makes one of the halves.
        ranks[: len(best)] = 0.5 + (1 / (1 + np.exp(-differences))).sum(axis=1)
    return ranks


def is_present(best: float, background: Background, ranking: RankingSettings) -> bool:
    """Whether what a text says is in the library at all, `best` being the score of the photo that is nearest to it: it
    is if that is about as near as the nearest photo is to a typical sentence."""
    return best >= background.expected - ranking.present * background.spread


def least_score(best: float, background: Background, ranking: RankingSettings) -> float:
    """The score with which a photo still belongs to the answer, if the best one, which does, has `best`: half-way from
    there to what has nothing to do with any text. It lies below what the best one must reach, since once something is
    known to be there, more of it is likely; and a text whose best photo fits well asks more of the others.

    Both bounds are measured in the library's own spread, so that they mean the same for every model.
    """
    return (best + background.expected - ranking.floor * background.spread) / 2
