"""Suggestions for the word that someone is typing: filters with values that photos of this library have."""

from __future__ import annotations

import calendar
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from search.overview import Overview
from search.query import FILTERS, Filter, cleaned, parse

# What stands before the caret: perhaps a minus, a key, an opening quote, and the beginning of a value.
_TYPED = re.compile(r"""(?:^|(?<=\s))-?(?:(?P<key>[A-Za-z]+):)?(?:"(?P<quoted>[^"]*)|(?P<plain>[^\s"-][^\s"]*)?)$""")
_SHORTEST_WORD = 2
"""Letters of a free word before anything is suggested for it."""
_OF_A_KIND = 3
"""Suggestions of one kind for a free word, which may become a filter of any."""
_DATE_KEYS = ("after", "before", "on")
_MONTHS = {name.casefold(): number for number, name in enumerate(calendar.month_name) if name}
_WORDS = re.compile(r"\w+")


@dataclass(frozen=True)
class Suggestion:
    """What could stand in place of what is being typed.

    Attributes:
        kind: the key of a filter, or `key` where only the filter's name is suggested.
        text: for the query.
        label: for people, without the key.
        detail: what tells it from others of the same label: the folder above, the word by which a tag was found.
        photos: how many photos of the library have it; None for a mere key.
    """

    kind: str
    text: str
    label: str
    detail: str
    photos: int | None

    def to_json(self) -> dict[str, Any]:
        """As it stands in an answer."""
        return {
            "kind": self.kind,
            "text": self.text,
            "label": self.label,
            "detail": self.detail,
            "photos": self.photos,
        }


@dataclass(frozen=True)
class Suggestions:
    """For the characters `start` to `end` of a text, what could replace them; the best first."""

    start: int
    end: int
    found: tuple[Suggestion, ...]


def suggestions(overview: Overview, text: str, limit: int) -> Suggestions:
    """What the last word of `text`, which ends where the caret stands, could become.

    Raises:
        QueryError: the text is too long for a query.
    """
    text = cleaned(text)
    typed = _TYPED.search(text)
    if typed is None or typed.start() == len(text):
        return Suggestions(len(text), len(text), ())
    key = (typed["key"] or "").lower()
    value = typed["quoted"] if typed["quoted"] is not None else typed["plain"] or ""
    minus = "-" if typed[0].startswith("-") else ""
    found: list[Suggestion] = []
    if key in FILTERS:
        found = list(_of_key(overview, key, value))
    elif not typed["key"] and typed["quoted"] is None and len(value) >= _SHORTEST_WORD:
        found = list(_of_word(overview, value))
    found.sort(key=lambda one: _rank(one, value.casefold()))
    return Suggestions(typed.start(), len(text), _best(found, minus, limit, limit if key else _OF_A_KIND))


def _best(ranked: list[Suggestion], minus: str, limit: int, of_a_kind: int) -> tuple[Suggestion, ...]:
    """The first of them that a query can say; not so many of a kind that a hundred folders of one name hide a tag."""
    seen: Counter[str] = Counter()
    kept: list[Suggestion] = []
    for one in ranked:
        if len(kept) == limit:
            break
        if seen[one.kind] < of_a_kind and (one.kind == "key" or str(parse(one.text)) == one.text):
            seen[one.kind] += 1
            kept.append(replace(one, text=minus + one.text))
    return tuple(kept)


def _of_word(overview: Overview, value: str) -> Iterator[Suggestion]:
    for key in ("tag", "camera", "folder", "is", "orientation", "type"):
        yield from _of_key(overview, key, value)
    if value.isdigit() or len(value) > _SHORTEST_WORD:
        yield from _of_key(overview, "on", value)
    for key in FILTERS:
        if key.startswith(value.casefold()):
            yield Suggestion("key", f"{key}:", f"{key}:", "", None)


def _of_key(overview: Overview, key: str, value: str) -> Iterator[Suggestion]:
    if key in _DATE_KEYS:
        return _dates(overview, key, value.casefold())
    if key == "folder":
        return _folders(overview, value.casefold())
    if key == "tag":
        return _tags(overview, value.casefold())
    counted = overview.columns[key].counted(slice(None))
    return (_suggestion(key, name, photos) for name, photos in counted if _begins(name, value.casefold()))


def _tags(overview: Overview, value: str) -> Iterator[Suggestion]:
    """Tags by their own names, and by others that they go by."""
    tags = overview.tags
    own = {name.casefold() for name in tags.names}
    named = [(name, "") for name in tags.names if _begins(name, value)]
    seen = {name for name, _ in named}
    for other in tags.meant if value else ():
        if other.startswith(value) and other not in own:
            named += [(tags.names[tag], other) for tag in tags.meant[other] if tags.names[tag] not in seen]
            seen.update(tags.names[tag] for tag in tags.meant[other])
    for name, other in named:
        yield _suggestion("tag", name, len(tags.having(name)), other)


def _folders(overview: Overview, value: str) -> Iterator[Suggestion]:
    for folder, photos in zip(overview.folders.all, overview.folders.photos, strict=True):
        if _begins(folder.name, value) or (os.sep in value and value in folder.path.casefold()):
            parent = folder.path.rstrip(os.sep)[: -len(folder.name)]
            yield _suggestion("folder", folder.path, photos, parent, label=folder.name)


def _dates(overview: Overview, key: str, value: str) -> Iterator[Suggestion]:
    """Years and months in which photos were taken: by their digits, or by the month's English name."""
    month = next((number for name, number in _MONTHS.items() if len(value) > 2 and name.startswith(value)), None)
    if not month and value.strip("0123456789-"):
        return
    units = (
        "M" if month else {4: "YM", 7: "MD"}.get(len(value), "Y" if len(value) < 4 else "M" if len(value) < 7 else "D")
    )
    days, counts = overview.dated
    for unit in units:
        periods, of_period = np.unique(days.astype(f"datetime64[{unit}]"), return_inverse=True)
        photos = np.bincount(of_period, counts, len(periods)).astype(int)
        for period, count in zip(periods.astype(str)[::-1].tolist(), photos[::-1].tolist(), strict=True):
            if int(period[5:]) == month if month else period.startswith(value):
                yield _suggestion(key, period, count)


def _suggestion(key: str, value: str, photos: int, detail: str = "", *, label: str = "") -> Suggestion:
    return Suggestion(key, str(Filter(key, value)), label or value, detail, photos)


def _begins(name: str, value: str) -> bool:
    """Whether the name, or a word in it, begins with `value`, which is folded."""
    name = name.casefold()
    return name.startswith(value) or any(name.startswith(value, word.start()) for word in _WORDS.finditer(name))


def _rank(one: Suggestion, value: str) -> tuple[int, int]:
    """Those first whose label begins with `value`, then whose label has a word that does, then by their photos; but
    dates stay in their order, the newest first."""
    if one.kind == "key":
        return 3, 0
    label = one.label.casefold()
    fit = 0 if label.startswith(value) else 1 if _begins(label, value) else 2
    return fit, 0 if one.kind in _DATE_KEYS else -(one.photos or 0)
