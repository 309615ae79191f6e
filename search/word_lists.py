"""What the words of a query find, put together from one list for each of its terms, which are kept.

Okapi BM25 is a sum over terms, so the score of a photo for several is the sum of its scores for each. Reading a term's
list takes as long as many photos have it, 40 ms for a quarter of 100,000; and of a query that grows by a letter with
each key all terms but one were asked for before.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from search.catalog import words
from search.catalog.words import DEPTH
from search.vectors.protocol import Doubles, Keys

MOST_KEPT = 4_000_000
"""Photos in all lists that are kept, those used last; each takes 16 bytes."""
_LIST = 64  # what a list takes besides, in photos
SETTLED_SECONDS = 2.0
"""Lists are worth their reading once the words have been the same for so long: to make them takes two to three times as
long as to ask for a whole query once, and the next commit of an indexer makes others of them."""

Scored = tuple[Keys, Doubles]


class WordLists:
    """The lists of terms in one catalog, of the words that were there last. Safe to use from many threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Scored] = OrderedDict()
        self._state = ""
        self._since = 0.0
        self._lock = threading.Lock()

    def are_settled(self, connection: sqlite3.Connection) -> bool:
        """Whether lists should be used; else ask the catalog for the whole query (`words.ranked`), which finds the
        same."""
        with self._lock:
            self._follow(words.state(connection))
            return time.monotonic() - self._since >= SETTLED_SECONDS

    def all_words(
        self,
        connection: sqlite3.Connection,
        free_words: Sequence[str],
        allowed: Keys | None,
        barred: Sequence[int] = (),
    ) -> dict[int, float]:
        """The `DEPTH` best photos that have each of the words (`words.terms` says which count), best first, each with
        its score: BM25, the higher the better; ties by key.

        Args:
            connection: sees one state of the catalog (`one_state`).
            free_words: of a query.
            allowed: int64[m], the photos that may be found; None for all live ones.
            barred: photos that may not be found all the same.
        """
        lists = self._lists(connection, words.terms(free_words))
        return _best(lists, len(lists), allowed, barred)

    def some_words(
        self,
        connection: sqlite3.Connection,
        free_words: Sequence[str],
        allowed: Keys | None,
        barred: Sequence[int] = (),
    ) -> dict[int, float]:
        """As `all_words`, the photos that have at least one of several words, tags aside: they stand side by side
        without belonging together."""
        terms = words.terms(free_words)
        if len(terms) < 2:
            return {}  # the same as all
        return _best(self._lists(connection, list(map(words.said, terms))), 1, allowed, barred)

    def _lists(self, connection: sqlite3.Connection, expressions: Sequence[str]) -> list[Scored]:
        state = words.state(connection)
        with self._lock:
            found = {one: self._kept.get(one) if state == self._state else None for one in expressions}
        lists = {one: kept or _scored(connection, one) for one, kept in found.items()}
        self._keep(state, lists)
        return list(lists.values())

    def _keep(self, state: str, lists: dict[str, Scored]) -> None:
        with self._lock:
            self._follow(state)
            for one, scored in lists.items():
                if len(scored[0]) > MOST_KEPT // 4:
                    continue  # it would push out all others
                self._kept[one] = scored
                self._kept.move_to_end(one)
            size = sum(len(keys) + _LIST for keys, _ in self._kept.values())
            while size > MOST_KEPT:
                _, (keys, _) = self._kept.popitem(last=False)
                size -= len(keys) + _LIST

    def _follow(self, state: str) -> None:
        if state != self._state:
            self._kept.clear()
            self._state, self._since = state, time.monotonic()


def _scored(connection: sqlite3.Connection, expression: str) -> Scored:
    rows = connection.execute(
        f"SELECT rowid, -bm25(words, {words.WEIGHTS}) FROM words WHERE words MATCH ?", (expression,)
    )
    pairs = np.fromiter(rows, np.dtype([("key", np.int64), ("score", np.float64)]))
    return np.ascontiguousarray(pairs["key"]), np.ascontiguousarray(pairs["score"])


def _best(lists: Sequence[Scored], least: int, allowed: Keys | None, barred: Sequence[int]) -> dict[int, float]:
    """The best of those photos that are in at least `least` of the lists, each of which names a photo once."""
    highest = max((int(keys.max(initial=0)) for keys, _ in lists), default=0)
    # Tables indexed by key are quicker than sorting, and keys are small whole numbers.
    counts, sums = np.zeros(highest + 1, np.int32), np.zeros(highest + 1, np.float64)
    for keys, scores in lists:
        counts[keys] += 1
        sums[keys] += scores
    if allowed is not None:
        passes = np.zeros(highest + 1, np.bool_)
        passes[allowed[allowed <= highest]] = True
        counts[~passes] = 0
    counts[[key for key in barred if key <= highest]] = 0
    found = np.flatnonzero(counts >= max(1, least))
    scores = sums[found]
    if len(found) > DEPTH:
        enough = scores >= np.partition(scores, -DEPTH)[-DEPTH]
        found, scores = found[enough], scores[enough]
    order = np.lexsort((found, -scores))[:DEPTH]
    return dict(zip(found[order].tolist(), scores[order].tolist(), strict=True))
