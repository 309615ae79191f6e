"""FTS5 expressions, as `search.catalog.words` writes them, in Milvus' language.

What is looked up in the words of photos is so decided in one place: which forms of a word count, which words say
nothing, in which fields something must stand.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from search.catalog.words import FIELDS, WRITTEN
from search.milvus.texts import folded, tokens

NOTHING = "key < 0"
"""A condition that no photo meets."""
WORDS, SAID, WRITTEN_WORDS, PARTS = "words", "said", "written", "parts"
"""Fields of a collection: all words, those but tags, those that no model made up, and texts to look for parts in."""
_FIELDS = {
    frozenset(FIELDS): WORDS,
    frozenset(FIELDS) - {"tags"}: SAID,
    frozenset(WRITTEN): WRITTEN_WORDS,
}
_TOKEN = re.compile(r'\s*(?:"((?:[^"]|"")*)"|(AND|OR)\b|([()])|\{([a-z ]+)\} :)')


def words_condition(expression: str) -> str:
    """A condition on photos in whose words an FTS5 expression for the catalog's table `words` holds."""
    return _Translation(expression, _phrase).condition()


def parts_condition(expression: str) -> str:
    """The same of an expression for its table `parts`."""
    return _Translation(expression, lambda text, field: f'{PARTS} like "%{folded(text)}%"').condition()


def asked(expression: str) -> list[str]:
    """Every word in an FTS5 expression for `words`, once: what BM25 is asked with."""
    texts = [match[1].replace('""', '"') for match in _TOKEN.finditer(expression) if match[1] is not None]
    return list(dict.fromkeys(word for found in tokens.of(texts) for word in found))


class _Translation:
    """One expression: quoted phrases, AND, OR, parentheses, and before these the columns to look in."""

    def __init__(self, expression: str, phrase: Callable[[str, str], str]) -> None:
        self._tokens = list(_TOKEN.finditer(expression))
        if "".join(match[0] for match in self._tokens) != expression.rstrip():
            raise ValueError(f"This is no expression that words are looked up with: {expression}")
        self._place = 0
        self._phrase = phrase

    def condition(self) -> str:
        return self._joined("OR", WORDS)

    def _joined(self, operator: str, field: str) -> str:
        """Terms with OR between them, each of which are terms with AND between them: AND binds more tightly."""
        found = [self._joined("AND", field) if operator == "OR" else self._term(field)]
        while (match := self._next()) and match[2] == operator:
            self._place += 1
            found.append(self._joined("AND", field) if operator == "OR" else self._term(field))
        return found[0] if len(found) == 1 else f"({f' {operator.lower()} '.join(found)})"

    def _term(self, field: str) -> str:
        match = self._next()
        assert match is not None
        self._place += 1
        if match[4] is not None:
            return self._term(_FIELDS[frozenset(match[4].split())])
        if match[3] == "(":
            inner = self._joined("OR", field)
            self._place += 1  # the parenthesis that closes it
            return inner
        return self._phrase(match[1].replace('""', '"'), field)

    def _next(self) -> re.Match[str] | None:
        return self._tokens[self._place] if self._place < len(self._tokens) else None


def _phrase(text: str, field: str) -> str:
    """Words side by side. Each is looked up in the index of words; where there are several, or one that an analyzer
    might fold, they are compared as they stand."""
    found = tokens.of([text])[0]
    if not found:
        return NOTHING
    conditions = [f'text_match({field}, "{word}")' for word in dict.fromkeys(found)]
    if len(found) > 1 or "X" in found[0]:
        conditions.append(f'{field} like "% {" ".join(found)} %"')
    return conditions[0] if len(conditions) == 1 else f"({' and '.join(conditions)})"
