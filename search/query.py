"""The query language of the search box, the API and the command line: text in, one typed `Query` out.

Free words ask by meaning; `-word` and `-"two words"` exclude; `"exact words"` must stand in caption, text or file name;
`key:value` filters. Any text is a query: what is not understood as something else is a word.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date
from typing import Any

from search.errors import QueryError

FILTERS = ("after", "before", "on", "camera", "folder", "type", "orientation", "is", "tag")
ORIENTATIONS = ("landscape", "portrait", "square")
KINDS = ("photo", "screenshot", "document", "drawing")
MAX_LENGTH = 2000
MAX_CONDITIONS = 32
"""Filters, exact and unwanted words together: each costs a search of its own."""

_TOKEN = re.compile(
    r"""
      (?P<negative>-)? (?P<key>[A-Za-z]+): (?: "(?P<quoted>[^"]*)" | (?P<value>[^\s"]+) )
    | (?P<minus>-)? "(?P<phrase>[^"]*)"
    | -(?P<minus_word>[^\s"-][^\s"]*)
    | (?P<word>[^\s"]+|")
    """,
    re.VERBOSE,
)
# What phones type for quotes, and keyboards of full width for - and :.
_TYPED = str.maketrans(dict.fromkeys("“”„‟«»＂", '"') | {"－": "-", "：": ":"})
_DATE = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?$")


@dataclass(frozen=True)
class Filter:
    """One condition on a photo, such as `camera:canon`; `negative` turns it round."""

    key: str
    value: str
    negative: bool = False

    def __str__(self) -> str:
        value = f'"{self.value}"' if re.search(r"\s", self.value) else self.value
        return f"{'-' if self.negative else ''}{self.key}:{value}"


@dataclass(frozen=True)
class Query:
    """A parsed query. `str(query)` is text that parses to the same query.

    Attributes:
        words: the free words in their order; joined by spaces they are what is asked by meaning.
        exact: words or phrases that must stand in caption, text or file name.
        excluded: words or phrases that the photo must not be about.
        filters: conditions that hold before anything is ranked.
    """

    words: tuple[str, ...] = ()
    exact: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    filters: tuple[Filter, ...] = ()

    @property
    def text(self) -> str:
        """What is asked by meaning: the free words and the exact ones, which also say what the photo shows."""
        return " ".join((*self.words, *self.exact))

    def __str__(self) -> str:
        exact = [f'"{phrase}"' for phrase in self.exact]
        excluded = [f'-"{phrase}"' if re.search(r"[\s:]|^-", phrase) else f"-{phrase}" for phrase in self.excluded]
        return " ".join([*self.words, *exact, *excluded, *map(str, self.filters)])


@dataclass(frozen=True)
class Term:
    """What a stretch of a query's text was understood as.

    Attributes:
        kind: `word`, `exact`, `excluded` or `filter`.
        value: the word or phrase; of a filter all of it, as in a query.
        start, end: where it stands, in characters of the text.
        filter: the condition, if it is one.
    """

    kind: str
    value: str
    start: int
    end: int
    filter: Filter | None = None

    def to_json(self) -> dict[str, Any]:
        """As it stands in an answer."""
        return {
            "kind": self.kind,
            "value": self.value if self.filter is None else self.filter.value,
            "key": self.filter.key if self.filter else None,
            "negative": self.filter.negative if self.filter else self.kind == "excluded",
            "start": self.start,
            "end": self.end,
        }


def parse(text: str) -> Query:
    """Read a query. Unknown keys are words.

    Raises:
        QueryError: as `terms` does.
    """
    found: dict[str, list[str]] = {"word": [], "exact": [], "excluded": []}
    filters = []
    for term in terms(text):
        if term.filter is None:
            found[term.kind].append(term.value)
        else:
            filters.append(term.filter)
    return Query(tuple(found["word"]), tuple(found["exact"]), tuple(found["excluded"]), tuple(filters))


def conditions(text: str) -> tuple[Term, ...]:
    """The terms of a query that are more than free words, in their order. Raises as `terms` does."""
    return tuple(term for term in terms(text) if term.kind != "word")


def is_sayable(condition: Filter) -> bool:
    """Whether a query can ask for it: quotes, several blanks and full-width signs in a value are lost on the way."""
    try:
        return parse(str(condition)).filters == (condition,)
    except QueryError:
        return False


def terms(text: str) -> list[Term]:
    """What a query is made of, in the order of its text.

    Raises:
        QueryError: a filter that is known has a value that cannot be, such as `after:2021-13`; or the text is longer
            than `MAX_LENGTH` characters, or has more than `MAX_CONDITIONS` conditions.
    """
    text = cleaned(text)
    found = [term for match in _TOKEN.finditer(text) for term in _terms(match) if term.value]
    if (count := sum(term.kind != "word" for term in found)) > MAX_CONDITIONS:
        raise QueryError(
            f"The query has {count} filters, exact and unwanted words; at most {MAX_CONDITIONS} are allowed."
        )
    return found


def _terms(match: re.Match[str]) -> list[Term]:
    start, end = match.span()
    if match["key"] is not None:
        key = match["key"].lower()
        value = match["quoted"] if match["quoted"] is not None else match["value"]
        if key in FILTERS and value.strip():
            condition = _checked(Filter(key, " ".join(value.split()), bool(match["negative"])))
            return [Term("filter", str(condition), start, end, condition)]
        if match["negative"]:
            return [Term("excluded", " ".join(match[0][1:].replace('"', " ").split()), start, end)]
        if match["quoted"] is None:
            return [Term("word", match[0], start, end)]
        quote = match.start("quoted") - 1
        exact = " ".join(value.split())
        return [Term("word", f"{match['key']}:", start, quote), Term("exact", exact, quote, end)]
    if match["phrase"] is not None:
        return [Term("excluded" if match["minus"] else "exact", " ".join(match["phrase"].split()), start, end)]
    if match["minus_word"] is not None:
        return [Term("excluded", match["minus_word"], start, end)]
    return [Term("word", match["word"] if match["word"].strip('"-') else "", start, end)]


def cleaned(text: str) -> str:
    """`text` without NUL and lone surrogates, which stand in no caption and would stop SQLite and the tokenizer, and
    with plain quotes, minus signs and colons.

    Raises:
        QueryError: it is longer than `MAX_LENGTH` characters.
    """
    if len(text) > MAX_LENGTH:
        raise QueryError(f"The query has {len(text)} characters; at most {MAX_LENGTH} are allowed.")
    return text.replace("\x00", " ").encode("utf-8", "replace").decode().translate(_TYPED)


def date_range(value: str) -> tuple[str, str]:
    """First and last day, ISO 8601, of a year, a month or a day: `2021` is ('2021-01-01', '2021-12-31').

    Raises:
        QueryError: there is no such date.
    """
    match = _DATE.match(value)
    try:
        if match is None:
            raise ValueError
        year, month, day = (int(part) if part else None for part in match.groups())
        assert year is not None
        first = date(year, month or 1, day or 1)
        last = date(year, month or 12, day or calendar.monthrange(year, month or 12)[1])
    except ValueError:
        raise QueryError(
            f"There is no date “{value}”; write a year, a month or a day, such as 2021, 2021-06 or 2021-06-30."
        ) from None
    return first.isoformat(), last.isoformat()


def _checked(condition: Filter) -> Filter:
    if condition.key in ("after", "before", "on"):
        date_range(condition.value)
    if condition.key == "orientation" and condition.value.lower() not in ORIENTATIONS:
        raise QueryError(f"There is no orientation “{condition.value}”; it is one of {', '.join(ORIENTATIONS)}.")
    if condition.key == "is" and condition.value.lower() not in KINDS:
        raise QueryError(f"No photo is a “{condition.value}”; ask for one of {', '.join(KINDS)}.")
    return condition
