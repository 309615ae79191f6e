"""A query's filters as one Milvus expression, so that they hold while it searches; the counterpart of
`search.filters`."""

from __future__ import annotations

import os
from collections.abc import Iterable

from search.catalog import words
from search.filters import FORMATS, is_whole_path
from search.milvus.fulltext import parts_condition, words_condition
from search.milvus.texts import lowered, one_word, safe, shortened
from search.query import ORIENTATIONS, Filter, Query, date_range

LONGEST_NAME = 512
"""Bytes of a camera, a tag or a name of one; what is longer is told by its beginning."""
FOLDER_MARK = "\U000f0080"
"""Before each folder of a photo: where a whole path begins."""
SHAPES = dict(zip(ORIENTATIONS, (1, -1, 0), strict=True))
"""The sign of width less height."""


def condition(query: Query) -> str:
    """An expression that holds for the photos that pass the query's filters; '' where it has none."""
    parts = [f"not ({_one(one)})" if one.negative else _one(one) for one in query.filters]
    parts += [_standing(text) for text in query.exact if _can_stand(text)]
    for text in query.excluded:
        if expression := words.said(words.phrase(text)):
            parts += [f"not ({words_condition(expression)})", f"not ({_any_of('tags', words.name_forms(text))})"]
    return both(*parts)


def both(*conditions: str) -> str:
    """All of the conditions that are not empty."""
    return " and ".join(f"({one})" for one in conditions if one)


def day_number(text: str | None) -> int:
    """A date, ISO 8601, as a number whose order is that of dates: 20210630; 0 where there is none."""
    digits = (text or "")[:10].replace("-", "")
    return int(digits) if len(digits) == 8 and digits.isascii() and digits.isdigit() else 0


def name(text: str) -> str:
    """A camera or the name of a tag as it is stored and compared: ASCII letters in lower case."""
    return shortened(safe(lowered(text)), LONGEST_NAME)


def folder_text(folder: bytes) -> str:
    """A folder as it is stored, with a mark before it."""
    return FOLDER_MARK + safe(folder.decode("utf-8", "replace") + os.sep)


def _one(one: Filter) -> str:
    value = one.value
    if one.key in ("after", "before", "on"):
        first, last = map(day_number, date_range(value))
        return {
            "after": f"day >= {first}",
            "before": f"day > 0 and day < {first}",
            "on": f"day >= {first} and day <= {last}",
        }[one.key]
    if one.key == "camera":
        return f'camera like "%{safe(lowered(value))}%"'
    if one.key == "folder":
        if is_whole_path(value):
            return f'folders like "%{FOLDER_MARK}{safe(value)}%"'
        return f'folders_lowered like "%{safe(lowered(value))}%"'
    if one.key == "type":
        return f'format == "{name(FORMATS.get(value.lower(), value))}"'
    if one.key == "orientation":
        return f"shape == {SHAPES[value.lower()]}"
    if one.key == "is":
        return f'kind == "{name(value)}"'
    return _any_of("called", words.name_forms(value))


def _any_of(field: str, names: Iterable[str]) -> str:
    return f'text_match({field}, "{" ".join(map(one_word, names))}")'


def _can_stand(text: str) -> bool:
    return bool(words.said(words.phrase(text)) or words.part(text))


def _standing(text: str) -> str:
    """Where `text` stands: as words anywhere, or as part of what is written in the picture or of a file's name."""
    whole, part = words.said(words.phrase(text)), words.part(text)
    found = [words_condition(whole)] if whole else []
    return " or ".join([*found, parts_condition(part)] if part else found)
