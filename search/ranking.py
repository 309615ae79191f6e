"""Putting ranked lists together, and judging where in a list the answer ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from search.background import Background

# Chosen on Flickr8k's dev split with the built-in model; docs/ranking.md has the figures.
FUSION_CONSTANT = 10
WEIGHTS = {"meaning": 1.0, "image": 1.0, "literal": 1.0, "all words": 0.5, "some words": 0.1}
"""What each kind of list counts in the fusion; `literal` are words that people or cameras wrote, no captioner."""
PRESENT = 0.65
"""Up to so many spreads below the best photo of a typical sentence, a text's best photo still shows what it says."""
FLOOR = 2.3
"""So many spreads below it are photos that have nothing to do with a text."""


@dataclass(frozen=True)
class RankedList:
    """What one signal found.

    Attributes:
        kind: a key of `WEIGHTS`.
        keys: photos, best first.
        relevant: how many of them, from the first on, belong to the answer in this signal's judgement; None where it
            has none, so that all may.
        scores, similarities: what each is ordered by, and its cosine, where the signal compares embeddings.
    """

    kind: str
    keys: list[int]
    relevant: int | None
    scores: list[float] = field(default_factory=list)
    similarities: list[float] = field(default_factory=list)


def fuse(lists: Sequence[RankedList]) -> list[tuple[int, float]]:
    """Fuse ranked lists of photo keys into one, best first, each with its score; ties by the smaller key.

    A photo at rank r (from 1) of a list of weight w earns w / (constant + r). Lists whose scores cannot be compared (a
    cosine with a text, a cosine with a picture, BM25) need no calibration this way. Cormack, Clarke and Büttcher,
    “Reciprocal rank fusion outperforms Condorcet and individual rank learning methods”, SIGIR 2009.
    """
    scores: dict[int, float] = {}
    for one in lists:
        for rank, key in enumerate(one.keys, start=1):
            scores[key] = scores.get(key, 0.0) + WEIGHTS[one.kind] / (FUSION_CONSTANT + rank)
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))


def is_present(best: float, background: Background) -> bool:
    """Whether what a text says is in the library at all, `best` being the score of the photo that is nearest to it: it
    is if that is about as near as the nearest photo is to a typical sentence."""
    return best >= background.expected - PRESENT * background.spread


def least_score(best: float, background: Background) -> float:
    """The score with which a photo still belongs to the answer, if the best one, which does, has `best`: half-way from
    there to what has nothing to do with any text. It lies below what the best one must reach, since once something is
    known to be there, more of it is likely; and a text whose best photo fits well asks more of the others.

    Both bounds are measured in the library's own spread, so that they mean the same for every model.
    """
    return (best + background.expected - FLOOR * background.spread) / 2
