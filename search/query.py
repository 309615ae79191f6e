"""The query language of the search box, the API and the command line: text in, one typed `Query` out.

Free words ask by meaning; `-word` and `-"two words"` exclude; `"exact words"` must stand in caption, text or file name;
`key:value` filters. Any text is a query: what is not understood as something else is a word.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date

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


def parse(text: str) -> Query:
    """Read a query. Unknown keys are words.

    Raises:
        QueryError: a filter that is known has a value that cannot be, such as `after:2021-13`; or the text is longer
            than `MAX_LENGTH` characters, or has more than `MAX_CONDITIONS` conditions.
    """
    text = cleaned(text)
    words: list[str] = []
    exact: list[str] = []
    excluded: list[str] = []
    filters: list[Filter] = []
    for match in _TOKEN.finditer(text):
        key = (match["key"] or "").lower()
        if match["key"] is not None:
            value = match["quoted"] if match["quoted"] is not None else match["value"]
            if key in FILTERS and value.strip():
                filters.append(_checked(Filter(key, " ".join(value.split()), bool(match["negative"]))))
            elif match["negative"]:
                excluded += filter(None, [" ".join(match[0][1:].replace('"', " ").split())])
            elif match["quoted"] is None:
                words.append(match[0])
            else:
                words.append(f"{match['key']}:")
                exact += filter(None, [" ".join(value.split())])
        elif match["phrase"] is not None:
            phrase = " ".join(match["phrase"].split())
            if phrase:
                (excluded if match["minus"] else exact).append(phrase)
        elif match["minus_word"] is not None:
            excluded.append(match["minus_word"])
        elif match["word"].strip('"-'):
            words.append(match["word"])
    if (conditions := len(exact) + len(excluded) + len(filters)) > MAX_CONDITIONS:
        raise QueryError(
            f"The query has {conditions} filters, exact and unwanted words; at most {MAX_CONDITIONS} are allowed."
        )
    return Query(tuple(words), tuple(exact), tuple(excluded), tuple(filters))


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
