"""Putting ranked lists together."""

from __future__ import annotations

from collections.abc import Sequence

RRF_CONSTANT = 60
"""The constant k of reciprocal rank fusion, as its authors chose it."""


def reciprocal_rank_fusion(lists: Sequence[Sequence[int]], *, constant: int = RRF_CONSTANT) -> list[tuple[int, float]]:
    """Fuse ranked lists of photo keys into one, best first, each with its score; ties by the smaller key.

    A photo at rank r (from 1) of a list earns 1 / (constant + r). Lists whose scores cannot be compared (a cosine with
    a text, a cosine with a picture, BM25) need no calibration this way. Cormack, Clarke and Büttcher, “Reciprocal rank
    fusion outperforms Condorcet and individual rank learning methods”, SIGIR 2009.
    """
    scores: dict[int, float] = {}
    for ranked in lists:
        for rank, key in enumerate(ranked, start=1):
            scores[key] = scores.get(key, 0.0) + 1.0 / (constant + rank)
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))
