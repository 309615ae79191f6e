"""Facets: what the hits of an answer have in common, counted, so that people see how they could narrow it."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import Any

import numpy as np

from search.overview import Days, Folders, Overview
from search.query import Filter
from search.vectors.protocol import Keys

UNITS = {"day": "D", "month": "M", "year": "Y"}
"""Of dates, with numpy's names."""
MOST_VALUES = 30
"""Of each facet."""
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


def facets(connection: sqlite3.Connection, overview: Overview, keys: Keys | None) -> Facets:
    """The facets of the photos `keys` (int64[n]), or of all photos if None."""
    places = np.arange(len(overview.keys)) if keys is None else np.unique(overview.places(keys))
    values = {
        "camera": _cameras(overview.columns["camera"].counted(places)),
        "folder": _folders(overview.folders, places),
        "tag": _values("tag", _tags(connection, overview, keys)),
        **{key: _values(key, overview.columns[key].counted(places)) for key in ("is", "orientation", "type")},
    }
    return Facets(len(places), _dates(overview.days[places]), values)


def _values(key: str, counted: list[tuple[str, int]]) -> list[Value]:
    # A name with a quote in it cannot be written in a query.
    return [Value(name, Filter(key, name), photos) for name, photos in counted if '"' not in name][:MOST_VALUES]


def _cameras(counted: list[tuple[str, int]]) -> list[Value]:
    """`camera:` finds whatever contains its value, so “EOS 5D” counts those of “EOS 5D Mark II” too."""
    folded = [(name.casefold(), photos) for name, photos in counted]
    wider = [(name, sum(photos for other, photos in folded if name.casefold() in other)) for name, _ in counted[:300]]
    return _values("camera", sorted(wider, key=lambda one: (-one[1], one[0])))


def _tags(connection: sqlite3.Connection, overview: Overview, keys: Keys | None) -> list[tuple[str, int]]:
    if keys is None:
        return list(overview.tags.items())
    return connection.execute(
        "SELECT tag, count(*) FROM tags WHERE photo_key IN (SELECT value FROM json_each(?)) GROUP BY tag"
        " ORDER BY count(*) DESC, tag LIMIT ?",
        (json.dumps(keys.tolist()), MOST_VALUES),
    ).fetchall()


def _folders(folders: Folders, places: Keys) -> list[Value]:
    """The folders right below the one that holds all photos: the first level at which they part."""
    chosen = np.isin(folders.places, places)
    photos, own = folders.places[chosen], folders.folders[chosen]
    lines = {int(number): _line(folders, int(number)) for number in np.unique(own)}
    depth = 0
    while len({line[depth] for line in lines.values()}) == 1 and any(len(line) > depth + 1 for line in lines.values()):
        depth += 1
        if any(len(line) == depth for line in lines.values()):
            break  # some lie in the folder itself
    parts: dict[int, list[Keys]] = {}
    for number, line in lines.items():
        if len(line) > depth:
            parts.setdefault(line[depth], []).append(photos[own == number])
    counted = [(folders.all[number], len(np.unique(np.concatenate(found)))) for number, found in parts.items()]
    counted.sort(key=lambda one: (-one[1], one[0].path))
    values = [Value(folder.name, Filter("folder", folder.path), photos) for folder, photos in counted]
    return [value for value in values if '"' not in value.filter.value][:MOST_VALUES]


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
    for unit, most in (("day", _MOST_DAYS), ("month", _MOST_MONTHS), ("year", None)):
        in_unit = dated.astype(f"datetime64[{UNITS[unit]}]")
        if most is None or int((in_unit.max() - in_unit.min()).astype(int)) < most:
            break
    values, counts = np.unique(in_unit, return_counts=True)
    return Dates(unit, {str(value): int(count) for value, count in zip(values, counts, strict=True)}, undated)
