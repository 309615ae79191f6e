"""What the words of a query find, ranked by BM25, from postings of its phrases that are kept in memory.

It is what FTS5 finds (`search.catalog.words`), which takes a second for a word that half of a million photos have; so
it is a few milliseconds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import numpy as np

from search.catalog import words
from search.catalog.words import DEPTH, FIELDS, WRITTEN
from search.followed import Followed, When
from search.full_text import FullText, TextState
from search.postings import Numbers, Postings, Table
from search.vectors.protocol import Keys
from search.vectors.selection import Flags, contained, distinct

_EVERY = frozenset(FIELDS)
ALL, SAID, LITERAL = range(3)
WORDS = Table(
    "words",
    {field: int(float(weight)) for field, weight in zip(FIELDS, words.WEIGHTS.split(","), strict=True)},
    (_EVERY, _EVERY - {"tags"}, frozenset(WRITTEN)),
    words.WORDS_TOKENIZER,
)
PARTS = Table("parts", {"text": 1, "name": 1}, (frozenset({"text", "name"}),), words.PARTS_TOKENIZER)
_SPARSE = 16
"""Where so many times as many keys are possible as there are postings, sorting is quicker than tables by key."""


class WordLists:
    """The words of one catalog. Safe to use from many threads."""

    def __init__(self) -> None:
        self._words, self._parts = (_Table(FullText(table)) for table in (WORDS, PARTS))

    def at(self, connection: sqlite3.Connection, *, parts: bool, when: When = "settled") -> Lists | None:
        """What they are in the state that `connection` sees (`one_state`), `parts` of words included if those are
        needed. None where asking the catalog for the whole query (`words.ranked`), which finds the same, is better: see
        `Followed.at`."""
        asked = self._words.at(connection, when)
        if asked is None or not parts:
            return None if asked is None else Lists(asked)
        # Where words are worth their reading, parts are.
        asked_parts = self._parts.at(connection, "now")
        return None if asked_parts is None else Lists(asked, asked_parts)


class _Table:
    def __init__(self, table: FullText) -> None:
        self._table, self._states = table, Followed(table.read, table.update)

    def at(self, connection: sqlite3.Connection, when: When) -> _Asked | None:
        state = self._states.at(connection, when)
        return None if state is None else _Asked(connection, self._table, state)


class _Asked:
    """A table in the state that a connection sees."""

    def __init__(self, connection: sqlite3.Connection, table: FullText, state: TextState) -> None:
        self._connection, self._table, self.state = connection, table, state

    def postings(self, phrase: str) -> Postings:
        """Those of a phrase."""
        return self._table.postings(self._connection, self.state, phrase)


class Lists:
    """Lists by words in one state of the catalog. For one request, in one thread."""

    def __init__(self, words_asked: _Asked, parts_asked: _Asked | None = None) -> None:
        self._words, self._parts = words_asked, parts_asked

    def all_words(
        self, free_words: Sequence[str], allowed: Keys | None, barred: Sequence[int] = ()
    ) -> dict[int, float]:
        """The `DEPTH` best photos that have each of the words (`words.terms` says which count), best first, each with
        its score: BM25, the higher the better; ties by key.

        Args:
            free_words: of a query.
            allowed: int64[m], the photos that may be found; None for all live ones.
            barred: photos that may not be found all the same.
        """
        return self._ranked(words.alternatives(free_words), ALL).best(allowed, barred)

    def some_words(
        self, free_words: Sequence[str], allowed: Keys | None, barred: Sequence[int] = ()
    ) -> dict[int, float]:
        """As `all_words`, the photos that have at least one of several words, tags aside: they stand side by side
        without belonging together."""
        terms = words.alternatives(free_words)
        if len(terms) < 2:
            return {}  # the same as all
        return self._ranked(terms, SAID, least=1).best(allowed, barred)

    def written(
        self, free_words: Sequence[str], exact: Sequence[str], allowed: Keys | None, barred: Sequence[int] = ()
    ) -> dict[int, float]:
        """As `words.written`: the photos in which each word stands in what no model made up, or, of a code with digits
        or what is `exact`, as part of a word; such photos last."""
        asked, parts, others = words.literally(free_words, exact)
        found = self._ranked(words.alternatives(asked), LITERAL).best(allowed, barred)
        if not parts:
            return found
        assert self._parts is not None
        as_parts = _Ranked(self._parts.state, [self._parts.postings(words.folded(part)) for part in parts], 0)
        for place in range(len(parts)):
            as_parts.add(((place,),))
        places = as_parts.keys
        passes = as_parts.counts > 0
        for place, part in enumerate(parts):
            stands = as_parts.has(place)
            if terms := words.alternatives([part]):
                stands |= self._ranked(terms, LITERAL).has_all(places)
            passes &= stands
        if terms := words.alternatives(others):
            passes &= self._ranked(terms, LITERAL).has_all(places)
        further = as_parts.best(allowed, barred, among=passes)
        return found | {key: score for key, score in further.items() if key not in found}

    def _ranked(self, terms: Sequence[words.Term], group: int, least: int | None = None) -> _Ranked:
        phrases = list(dict.fromkeys(form for term in terms for piece in term for form in piece))
        ranked = _Ranked(self._words.state, [self._words.postings(phrase) for phrase in phrases], group)
        for term in terms:
            ranked.add(tuple(tuple(phrases.index(form) for form in piece) for piece in term))
        ranked.least = max(1, len(terms)) if least is None else least
        return ranked


class _Ranked:
    """Photos with the sum of their scores for some terms, and of how many.

    Attributes:
        keys: int64[n], every photo in which a phrase stands, and maybe others; None of them twice.
        sums: float64[n].
        counts: int32[n].
        least: how many terms a photo must have.
    """

    def __init__(self, state: TextState, found: Sequence[Postings], group: int) -> None:
        """Of phrases with these postings, in fields of the `group`."""
        self._okapi, self._found = state.okapi, [one.within(group) for one in found]
        every = sum(len(keys) for keys, _ in self._found)
        self._is_sparse = every * _SPARSE < len(state.lengths)
        if self._is_sparse:
            self.keys = distinct(np.concatenate([np.empty(0, np.int64), *(keys for keys, _ in self._found)]))
        else:
            self.keys = np.arange(len(state.lengths))
        self.sums, self.counts = np.zeros(len(self.keys)), np.zeros(len(self.keys), np.int32)
        self.least = 1

    def add(self, pieces: Sequence[Sequence[int]]) -> None:
        """Add a term: pieces, all of which a photo must have, each in one of its forms, numbers of phrases."""
        has = [np.zeros(len(self.keys), np.bool_) for _ in pieces]
        # Sums are made in the order in which FTS5 makes them, so that they are the same to the last bit, but for terms
        # of several pieces, where it may be another.
        sums = self.sums if len(pieces) == 1 else np.zeros(len(self.keys))
        for piece, forms in enumerate(pieces):
            for form in forms:
                keys, frequencies = self._found[form]
                places = self._places(keys)
                has[piece][places] = True
                sums[places] += self._okapi.scores(keys, frequencies)
        together = np.logical_and.reduce(has)
        if sums is not self.sums:
            self.sums[together] += sums[together]
        self.counts += together

    def has(self, phrase: int) -> Flags:
        """Which of the photos have a phrase."""
        found = np.zeros(len(self.keys), np.bool_)
        found[self._places(self._found[phrase][0])] = True
        return found

    def has_all(self, keys: Keys) -> Flags:
        """Which of these photos have enough of the terms."""
        return contained(keys, self.keys[self.counts >= self.least])

    def best(self, allowed: Keys | None, barred: Sequence[int], among: Flags | None = None) -> dict[int, float]:
        """The `DEPTH` best of the photos that have enough of the terms (or are `among` some), with their scores."""
        passes = self.counts >= self.least if among is None else among.copy()
        if allowed is not None:
            passes &= contained(self.keys, allowed)
        for key in barred:
            passes &= self.keys != key
        found = np.flatnonzero(passes)
        scores = self.sums[found]
        if len(found) > DEPTH:
            enough = scores >= np.partition(scores, -DEPTH)[-DEPTH]
            found, scores = found[enough], scores[enough]
        keys = self.keys[found]
        order = np.lexsort((keys, -scores))[:DEPTH]
        return dict(zip(keys[order].tolist(), scores[order].tolist(), strict=True))

    def _places(self, keys: Numbers) -> Keys | Numbers:
        return np.searchsorted(self.keys, keys) if self._is_sparse else keys
