"""What a request finds in one snapshot: a ranked list for each signal, put together into one order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from search.answer import Request
from search.candidates import Candidates
from search.catalog.words import DEPTH
from search.errors import UnknownPhotoError
from search.moments import COLLAPSED
from search.query import Query
from search.questions import Questions
from search.ranking import RankedList, fuse, is_present, least_score
from search.vectors.protocol import Doubles, Floats, Keys

if TYPE_CHECKING:
    from search.ranking_settings import RankingSettings

Flags = npt.NDArray[np.bool_]

_FURTHEST = 2**40  # beyond any library, and a number that FAISS and SQLite still take
DATED_DEPTH = 200
"""How many of the best hits are put in the order of their dates, where what is relevant is not known or not asked."""


@dataclass(frozen=True)
class Found:
    """What was found, in the order in which it is shown.

    Attributes:
        keys: int64[n], photos; at least the first `DEPTH` of them.
        scores: float64[n], what each is ordered by; None where nothing was ranked.
        relevant: bool[n], which of them belong to the answer.
        others: the further photos of the moments of some of them, best first.
        lists: what each signal found.
        total: how many there are on all pages.
        left_out: how many more were ranked, and are not relevant.
        candidates: how many photos could have been found.
    """

    keys: Keys
    scores: Doubles | None
    relevant: Flags
    others: dict[int, list[int]]
    lists: tuple[RankedList, ...]
    total: int
    left_out: int
    candidates: int

    def holds(self, end: int) -> bool:
        """Whether the hits before place `end` are among `keys`, or there are no more."""
        return min(end, self.total) <= len(self.keys)


class Retrieval:
    """One request, asked of the photos that may answer it."""

    def __init__(
        self,
        request: Request,
        query: Query,
        candidates: Candidates,
        questions: Questions,
        ranking: RankingSettings,
    ) -> None:
        """`query` is `request` as it was understood, and `candidates` pass its filters; `questions` embed with the
        model of the index."""
        self._request, self._query, self._ranking = request, query, ranking
        self._candidates, self._questions = candidates, questions

    def find(self) -> Found:
        """Everything that answers, as far as the page that is asked for.

        Raises:
            UnknownPhotoError: `like` names no photo of this index.
            ModelError: the index's model cannot be loaded here.
        """
        picture = self._picture()
        text = self._query.text
        asks_meaning = bool(text) and self._request.mode != "words"
        if picture is None and not text:
            return self._newest()
        lists = self._by_words() if text and self._request.mode != "meaning" else []
        alone = not lists and (picture is None or not asks_meaning)
        if picture is not None:
            lists.append(self._by_picture(picture, alone))
        if asks_meaning:
            # What stands in quotes is a condition, which all that are left fulfil: nothing more is to be judged.
            judged = picture is None and bool(self._query.words)
            lists.append(self._by_meaning(text, alone, judged=judged))
        return self._together(lists, alone)

    def _together(self, lists: list[RankedList], alone: bool) -> Found:
        single = alone and bool(lists)
        keys, scores = (lists[0].keys, lists[0].scores.astype(np.float64)) if single else fuse(lists, self._ranking)
        total, left_out = len(self._candidates) if single else len(keys), 0
        fitting = [one.keys[: one.relevant] for one in lists]
        relevant = np.isin(keys, np.concatenate([np.empty(0, np.int64), *fitting]))
        if not self._request.include_all and not (single and lists[0].relevant is None):
            keys, scores, relevant = keys[relevant], scores[relevant], relevant[relevant]
            total, left_out = len(keys), total - len(keys)
        if self._request.sort == "date":
            judged = all(one.relevant is not None for one in lists)
            kept = (np.arange(len(keys)) < DATED_DEPTH) | (relevant & judged)
            keys, scores, relevant = keys[kept], scores[kept], relevant[kept]
            total = len(keys)
        others: dict[int, list[int]] = {}
        if self._request.collapse:
            # What is relevant leads, wherever the fusion put it, so that it does not vanish behind what is not.
            leading = np.argsort(~relevant, kind="stable")
            others = self._candidates.moments(keys[leading], self._ranking)
            shown = ~np.isin(keys, [key for group in others.values() for key in group])
            total -= len(keys) - int(shown.sum())
            keys, scores, relevant = keys[shown], scores[shown], relevant[shown]
        if self._request.sort == "date":
            order = self._candidates.by_date(keys)
            keys, scores, relevant = keys[order], scores[order], relevant[order]
        return Found(keys, scores, relevant, others, tuple(lists), total, left_out, len(self._candidates))

    def _by_meaning(self, text: str, alone: bool, *, judged: bool) -> RankedList:
        plain = self._questions.of_text(text)
        vector = self._questions.without(plain, list(self._query.excluded), self._ranking.negative_weight)
        background = self._candidates.background if judged else None
        ends = alone and background is not None and not self._request.include_all
        depth = min(self._page, DEPTH) if ends else self._depth(alone)
        scores, keys, cosines = self._by_text(vector, depth)
        if background is None:
            return RankedList("meaning", keys, None, scores, cosines, self._tolerance)
        # Judged by the best of the whole library: filters and what must not be shown take nothing away from whether the
        # rest is there, nor from where it ends.
        top = float(scores[0]) if self._candidates.are_all and len(scores) else self._best(vector)
        best = top if vector is plain else self._best(plain)
        least = least_score(top, background, self._ranking)
        if not is_present(best, background, self._ranking):
            return RankedList("meaning", keys, 0, scores, cosines, self._tolerance)
        if len(keys) == depth < DEPTH and scores[-1] >= least:
            scores, keys, cosines = self._by_text(vector, DEPTH)  # it goes on: how long it is belongs to it
        relevant = int((scores >= least).sum())
        return RankedList("meaning", keys, relevant, scores, cosines, self._tolerance)

    def _by_text(self, vector: Floats, k: int) -> tuple[Floats, Keys, Floats]:
        return self._candidates.nearest_to_text(vector, k, hub_weight=self._ranking.hub_weight)

    def _best(self, vector: Floats) -> float:
        """The score of the library's nearest photo; -inf where there is none any more."""
        found, _, _ = self._candidates.nearest_to_text(vector, 1, hub_weight=self._ranking.hub_weight, of_all=True)
        return float(found[0]) if len(found) else -np.inf

    def _by_picture(self, vector: Floats, alone: bool) -> RankedList:
        cosines, keys = self._candidates.nearest(vector, self._depth(alone))
        return RankedList("image", keys, None, cosines, cosines)

    def _by_words(self) -> list[RankedList]:
        """Photos in whose words all, or some, of the query's words stand."""
        return [
            RankedList(
                kind,
                np.fromiter(found, np.int64),
                0 if kind == "some words" else len(found),
                np.fromiter(found.values(), np.float32),
            )
            for kind, found in self._candidates.by_words().items()
            if found
        ]

    def _picture(self) -> Floats | None:
        """The mean direction of all pictures that are asked for; photos of the index then do not answer themselves."""
        vectors = [self._questions.of_image(image) for image in self._request.images]
        for photo_id in self._request.like:
            known = self._candidates.embedding(photo_id)
            if known is None:
                raise UnknownPhotoError(f"There is no photo {photo_id} in this index.")
            self._candidates.leave_out(photo_id)
            vectors.append(known[1])
        for photo_id in self._request.apart_from:
            self._candidates.leave_out(photo_id)
        if not vectors:
            return None
        mean = np.mean(vectors, axis=0)
        mean = np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), dtype=np.float32)
        if self._query.text:
            return mean
        return self._questions.without(mean, list(self._query.excluded), self._ranking.negative_weight)

    def _newest(self) -> Found:
        """Nothing to rank by: the photos that pass the filters, newest first."""
        total, keys = self._candidates.newest(max(DEPTH, self._page))
        return Found(keys, None, np.ones(len(keys), np.bool_), {}, (), total, 0, total)

    @property
    def _tolerance(self) -> float:
        background = self._candidates.background
        return 0.0 if background is None else self._ranking.same_score * background.spread

    @property
    def _page(self) -> int:
        return min(self._request.offset + self._request.limit, _FURTHEST)

    def _depth(self, alone: bool) -> int:
        """How far a list is read: of one that is the answer alone, far enough for the page even if hits above it
        collapse."""
        return max(DEPTH, self._page) + (COLLAPSED if self._request.collapse else 0) if alone else DEPTH
