"""What a request finds in one snapshot: a ranked list for each signal, put together into one order."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search.answer import Request
from search.catalog import words
from search.catalog.photo import photo_by_id
from search.errors import UnknownPhotoError
from search.filters import allowed_keys, condition
from search.query import Query
from search.questions import Questions
from search.ranking import RankedList, fuse, is_present, least_score
from search.vectors import stored
from search.vectors.protocol import Floats
from search.vectors.snapshot import Snapshot

DEPTH = 10_000
"""How far down a list is read where several are fused, and to find its end; pages of such an answer end there."""
DATED_DEPTH = 200
"""How many of the best hits are put in the order of their dates, where what is relevant is not known or not asked."""


@dataclass(frozen=True)
class Found:
    """What was found, in the order in which it is shown.

    Attributes:
        keys: photos; at least as many as the page needs.
        scores: what each is ordered by; None where nothing was ranked.
        relevant: those that belong to the answer; None where all do.
        lists: what each signal found.
        total: how many there are on all pages.
        left_out: how many more were ranked, and are not relevant.
        candidates: how many photos could have been found.
    """

    keys: list[int]
    scores: list[float | None]
    relevant: set[int] | None
    lists: tuple[RankedList, ...]
    total: int
    left_out: int
    candidates: int


class Retrieval:
    """One request, asked of one snapshot."""

    def __init__(
        self, request: Request, query: Query, snapshot: Snapshot, connection: sqlite3.Connection, questions: Questions
    ) -> None:
        """`query` is `request` as it was understood; `questions` embed with the snapshot's model."""
        self._request, self._query = request, query
        self._snapshot, self._connection, self._questions = snapshot, connection, questions
        self._among = snapshot.live
        allowed = allowed_keys(connection, query)
        if allowed is not None:
            self._among = allowed[np.isin(allowed, snapshot.live)]

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
            lists.append(self._by_meaning(text, alone, judged=picture is None))
        return self._together(lists, alone)

    def _together(self, lists: list[RankedList], alone: bool) -> Found:
        order = list(zip(lists[0].keys, lists[0].scores, strict=True)) if alone and lists else fuse(lists)
        total = len(self._among) if alone and lists else len(order)
        fitting = {key for one in lists for key in one.keys[: one.relevant]}
        relevant = fitting if len(fitting) < len(order) else None
        left_out = 0
        if relevant is not None and not self._request.include_all:
            order = [(key, score) for key, score in order if key in relevant]
            total, left_out = len(order), total - len(order)
        if self._request.sort == "date":
            judged = all(one.relevant is not None for one in lists)
            order = self._by_date(order[: max(DATED_DEPTH, len(fitting) if judged else 0)])
            total = len(order)
        keys, scores = [key for key, _ in order], [score for _, score in order]
        return Found(keys, list(scores), relevant, tuple(lists), total, left_out, len(self._among))

    def _by_meaning(self, text: str, alone: bool, *, judged: bool) -> RankedList:
        plain = self._questions.of_text(text)
        vector = self._questions.without(plain, list(self._query.excluded))
        background = self._snapshot.background if judged else None
        depth = self._depth(alone)
        while True:
            scores, keys, cosines = self._snapshot.search_text(vector, depth, allowed=self._among)
            relevant = None if background is None else len(keys)
            if background is not None and len(keys):
                # What must not be shown takes nothing away from whether the rest is there.
                best = scores if vector is plain else self._snapshot.search_text(plain, 1, allowed=self._among)[0]
                least = least_score(float(scores[0]), background)
                relevant = int((scores >= least).sum()) if is_present(float(best[0]), background) else 0
            if relevant is None or relevant < len(keys) or len(keys) < depth or depth >= DEPTH:
                return RankedList("meaning", keys.tolist(), relevant, scores.tolist(), cosines.tolist())
            depth = min(DEPTH, 4 * depth)  # the answer goes on below: how long it is belongs to it

    def _by_picture(self, vector: Floats, alone: bool) -> RankedList:
        cosines, keys = self._snapshot.search(vector, self._depth(alone), allowed=self._among)
        return RankedList("image", keys.tolist(), None, cosines.tolist(), cosines.tolist())

    def _by_words(self) -> list[RankedList]:
        """Photos in whose words all, or some, of the query's words stand."""
        asked = self._query.words + self._query.exact
        where = condition(self._query)
        ranked = {
            "literal": words.written(self._connection, asked, *where),
            "all words": words.ranked(self._connection, words.match_all(asked), *where),
            "some words": words.ranked(self._connection, words.match_some(asked), *where),
        }
        return [
            RankedList(kind, keys[:DEPTH], 0 if kind == "some words" else len(keys[:DEPTH]))
            for kind, keys in ranked.items()
            if keys
        ]

    def _picture(self) -> Floats | None:
        """The mean direction of all pictures that are asked for; photos of the index then do not answer themselves."""
        vectors = [self._questions.of_image(image) for image in self._request.images]
        model = self._snapshot.model
        for photo_id in self._request.like:
            photo = photo_by_id(self._connection, photo_id)
            vector = stored.of_photo(self._connection, model.key, photo.key, model.dimensions) if photo else None
            if photo is None or vector is None:
                raise UnknownPhotoError(f"There is no photo {photo_id} in this index.")
            self._among = self._among[self._among != photo.key]
            vectors.append(vector)
        if not vectors:
            return None
        mean = np.mean(vectors, axis=0)
        mean = np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), dtype=np.float32)
        return mean if self._query.text else self._questions.without(mean, list(self._query.excluded))

    def _newest(self) -> Found:
        """Nothing to rank by: the photos that pass the filters, newest first."""
        sql, values = condition(self._query)
        total = self._connection.execute(f"SELECT count(*) FROM photos WHERE {sql}", values).fetchone()[0]
        rows = self._connection.execute(
            f"SELECT key FROM photos WHERE {sql} ORDER BY sort_at DESC, key DESC LIMIT ?", (*values, self._page)
        )
        keys = [row[0] for row in rows]
        return Found(keys, [None] * len(keys), None, (), total, 0, total)

    def _by_date(self, order: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
        dates = dict(
            self._connection.execute(
                "SELECT key, sort_at FROM photos WHERE key IN (SELECT value FROM json_each(?))",
                (json.dumps([key for key, _ in order]),),
            )
        )
        return sorted(order, key=lambda item: (dates.get(item[0], ""), item[0]), reverse=True)

    @property
    def _page(self) -> int:
        return self._request.offset + self._request.limit

    def _depth(self, alone: bool) -> int:
        if not alone:
            return max(DEPTH, self._page)
        return max(self._page, DATED_DEPTH) if self._request.sort == "date" else self._page
