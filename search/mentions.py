"""Which concepts of a vocabulary a text names: a dog and a beach in “two dogs at the beach”."""

from __future__ import annotations

import re
from collections.abc import Sequence

from search.catalog.words import name_forms
from search.vocabulary import Concept

_WORD = re.compile(r"\w+(?:[-'’]\w+)*")
_ARTICLES = frozenset({"a", "an", "the"})


class Mentions:
    """Finds the concepts that texts name, by their tags and synonyms; where one name lies in another, the longer."""

    def __init__(self, concepts: Sequence[Concept]) -> None:
        self._as_written: dict[tuple[str, ...], set[int]] = {}
        self._in_other_forms: dict[tuple[str, ...], set[int]] = {}
        for place, concept in enumerate(concepts):
            for name in concept.words:
                self._as_written.setdefault(_words(name), set()).add(place)
                for form in name_forms(name):
                    self._in_other_forms.setdefault(_words(form), set()).add(place)
        self._longest = max(map(len, self._as_written), default=0)

    def __call__(self, text: str) -> set[int]:
        """The places, in the list of concepts, of those that `text` names; broader ones are not among them."""
        words = _words(text)
        found: set[int] = set()
        start = 0
        while start < len(words):
            length = 1
            for end in range(min(len(words), start + self._longest), start, -1):
                # A vocabulary may have “boy” and “boys”: what stands in it as it is written comes first.
                named = self._as_written.get(words[start:end]) or self._in_other_forms.get(words[start:end])
                if named:
                    found |= named
                    length = end - start
                    break
            start += length
        return found


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in _WORD.findall(text.lower()) if word not in _ARTICLES)
