"""Facets: what the hits of an answer have in common, counted, so that people see how they could narrow it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from search.overview import Days, Folders, Overview
from search.query import Filter, is_sayable, parse
from search.vectors.protocol import Keys
from search.vectors.selection import Flags, contained, distinct

UNITS = {"day": "D", "month": "M", "year": "Y"}
"""Of dates, with numpy's names."""
MOST_VALUES = 30
"""Of each facet."""
_MOST_CAMERAS = 300
_MOST_DAYS, _MOST_MONTHS = 62, 72
"""A histogram of dates that would have more bars than that is drawn in the next larger unit."""


@dataclass(frozen=True)
class Value:
    """One value of a facet: the query `filter` leaves the `photos` of the hits that have it."""

    name: str
    filter: Filter
    photos: int

    def to_json(self) -> dict[str, Any]:
        """As it stands in an answer."""
        return {"name": self.name, "filter": str(self.filter), "photos": self.photos}


@dataclass(frozen=True)
class Dates:
    """When hits were taken.

    Attributes:
        unit: `day`, `month` or `year`.
        counts: by day (`2021-06-30`), month (`2021-06`) or year, as `on:` takes them; in their order, none with 0.
        undated: how many have no date.
    """

    unit: str
    counts: dict[str, int]
    undated: int


@dataclass(frozen=True)
class Facets:
    """What `photos` photos, all hits of an answer and what collapsed behind them, have in common; `values` by facet."""

    photos: int
    dates: Dates
    values: dict[str, list[Value]]

    def to_json(self) -> dict[str, Any]:
        """As it stands in an answer."""
        return {
            "photos": self.photos,
            "dates": {
                "unit": self.dates.unit,
                "counts": [{"on": on, "photos": photos} for on, photos in self.dates.counts.items()],
                "undated": self.dates.undated,
            },
            **{name: [value.to_json() for value in values] for name, values in self.values.items()},
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Facets:
        """What `to_json` made of it."""
        photos, dates, values = document["photos"], document["dates"], dict(document)
        del values["photos"], values["dates"]
        return cls(
            photos,
            Dates(dates["unit"], {one["on"]: one["photos"] for one in dates["counts"]}, dates["undated"]),
            {
                name: [Value(one["name"], parse(one["filter"]).filters[0], one["photos"]) for one in some]
                for name, some in values.items()
            },
        )


def facets(overview: Overview, keys: Keys | None) -> Facets:
    """The facets of the photos `keys` (int64[n]), or of all photos if None."""
    among = np.ones(len(overview.keys), np.bool_) if keys is None else contained(overview.keys, keys)
    places = np.flatnonzero(among)
    values = {
        "camera": _cameras(overview.columns["camera"].counted(places)),
        "folder": _folders(overview.folders, among),
        "tag": _tags(overview, among),
        **{key: _values(key, overview.columns[key].counted(places)) for key in ("is", "orientation", "type")},
    }
    return Facets(len(places), _dates(overview.days[places]), values)


def _values(key: str, counted: Iterable[tuple[str, int]]) -> list[Value]:
    values = (Value(name, Filter(key, name), photos) for name, photos in counted)
    return list(itertools.islice((value for value in values if is_sayable(value.filter)), MOST_VALUES))


def _cameras(counted: list[tuple[str, int]]) -> list[Value]:
    """`camera:` finds whatever contains its value, so “EOS 5D” counts those of “EOS 5D Mark II” too."""
    # Bytes fold as SQLite's LIKE does: ASCII alone.
    folded = [(name.encode("utf-8", "replace").lower(), photos) for name, photos in counted[:_MOST_CAMERAS]]
    wider = [sum(photos for other, photos in folded if name in other) for name, _ in folded]
    names = [name for name, _ in counted]
    return _values("camera", sorted(zip(names, wider, strict=False), key=lambda one: (-one[1], one[0])))


def _tags(overview: Overview, among: Flags) -> list[Value]:
    """`tag:` takes synonyms and what is narrower too, so that is what a tag counts."""
    tags = overview.tags
    summed = np.concatenate([np.zeros(1, np.int64), np.cumsum(among[tags.places])])
    own = np.diff(summed[np.concatenate([np.zeros(1, np.int64), tags.ends])])
    frequent = np.argsort(-own, kind="stable")[: 2 * MOST_VALUES]
    counted = [(tags.names[tag], int(among[tags.having(tags.names[tag])].sum())) for tag in frequent if own[tag]]
    return _values("tag", sorted(counted, key=lambda one: (-one[1], one[0])))


def _folders(folders: Folders, among: Flags) -> list[Value]:
    """The folders right below the one that holds all photos: the first level at which they part."""
    chosen = among[folders.places]
    photos, own = folders.places[chosen], folders.folders[chosen]
    lines = {number: _line(folders, number) for number in np.flatnonzero(np.bincount(own)).tolist()}
    depth = 0
    while len({line[depth] for line in lines.values()}) == 1 and any(len(line) > depth + 1 for line in lines.values()):
        depth += 1
        if any(len(line) == depth for line in lines.values()):
            break  # some lie in the folder itself
    part = np.full(len(folders.all), -1, np.int64)
    for number, line in lines.items():
        if len(line) > depth:
            part[number] = line[depth]
    parts = part[own]
    photos, parts = photos[parts >= 0], parts[parts >= 0]
    # A photo counts once, though several of its folders may lie in a part; few photos have several.
    several = np.bincount(photos)[photos] > 1 if len(photos) else np.zeros(0, np.bool_)
    pairs = distinct(parts[several] + len(folders.all) * photos[several]) % max(1, len(folders.all))
    counts = np.bincount(np.concatenate([parts[~several], pairs]), minlength=len(folders.all))
    counted = [(folders.all[number], int(counts[number])) for number in np.flatnonzero(counts)]
    counted.sort(key=lambda one: (-one[1], one[0].path))
    values = (Value(folder.name, Filter("folder", folder.path), photos) for folder, photos in counted)
    return list(itertools.islice((value for value in values if is_sayable(value.filter)), MOST_VALUES))


def _line(folders: Folders, number: int | None) -> list[int]:
    """A folder and those above it, from its library down."""
    line: list[int] = []
    while number is not None:
        line.append(number)
        number = folders.all[number].above
    return line[::-1]


def _dates(days: Days) -> Dates:
    dated = days[~np.isnat(days)]
    undated = len(days) - len(dated)
    if not len(dated):
        return Dates("year", {}, undated)
    first = dated.min()
    by_day = np.bincount((dated - first).astype(np.int64))
    taken = first + np.flatnonzero(by_day)
    for unit, most in (("day", _MOST_DAYS), ("month", _MOST_MONTHS), ("year", None)):
        in_unit = taken.astype(f"datetime64[{UNITS[unit]}]")
        if most is None or int((in_unit.max() - in_unit.min()).astype(int)) < most:
            break
    values, of_value = np.unique(in_unit, return_inverse=True)
    counts = np.bincount(of_value, by_day[by_day > 0])
    return Dates(unit, {str(value): int(count) for value, count in zip(values, counts, strict=True)}, undated)
