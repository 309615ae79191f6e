"""What the photos of a catalog have in common (cameras, folders, dates, tags), in arrays that are quick to count in.

Counting in the tables takes a tenth of a second for 100,000 photos and each kind of value, too long for every key that
someone types. So an overview is made of what filters know of all photos, and kept until the catalog changes.
"""

from __future__ import annotations

import functools
import json
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from search import columns
from search.catalog import paths, words
from search.catalog.connection import one_state
from search.columns import Columns
from search.postings import numbers as numbers_of
from search.query import ORIENTATIONS
from search.vectors.protocol import Keys
from search.vectors.selection import contained, distinct

Codes = npt.NDArray[np.int32]
Days = npt.NDArray[np.datetime64]

_SHAPES = dict(zip((1, -1, 0), ORIENTATIONS, strict=True))


@dataclass(frozen=True)
class Column:
    """One value for each photo: `names[codes[i]]`, or none where the code is -1."""

    names: tuple[str, ...]
    codes: Codes

    @classmethod
    def of(cls, column: columns.Column, keys: Keys, name: Callable[[Any], str] = str) -> Column:
        """Of what is kept of all photos that of the photos `keys`, with another `name` for each value."""
        names = [name(value) for value in column.values]
        numbers = {one: number for number, one in enumerate(dict.fromkeys(names))}
        table = np.asarray([-1, *(numbers[one] for one in names)], np.int32)
        return cls(tuple(numbers), table[column.codes[keys]])

    def counted(self, places: Keys | slice) -> list[tuple[str, int]]:
        """Each value that the photos at these places have, and how many have it; the most frequent first."""
        codes = self.codes[places]
        counts = np.bincount(codes[codes >= 0], minlength=len(self.names))
        found = [(name, int(count)) for name, count in zip(self.names, counts, strict=True) if count]
        return sorted(found, key=lambda one: (-one[1], one[0]))


@dataclass(frozen=True)
class Folder:
    """A folder of a library, which may be the library itself.

    Attributes:
        path: ends with the separator; `folder:` and this path find what lies in it and below it.
        above: the place of the folder above it in `Folders.all`; None for a library.
    """

    path: str
    name: str
    above: int | None


@dataclass(frozen=True)
class Folders:
    """Where photos lie, in pairs: the photo at `places[i]` of the overview has a file in the folder `all[folders[i]]`.

    Attributes:
        all: every folder that photos lie in, and those above them, each after the one above it.
        places: int64[m].
        folders: int32[m].
    """

    all: tuple[Folder, ...]
    places: Keys
    folders: Codes

    @functools.cached_property
    def photos(self) -> list[int]:
        """How many photos lie in each folder or below it."""
        above = np.asarray([-1 if folder.above is None else folder.above for folder in self.all], np.int64)
        pairs = [np.empty(0, np.int64)]
        places, folders = self.places, self.folders.astype(np.int64)
        while len(folders):
            pairs.append(folders + len(self.all) * places)
            folders = above[folders]
            places, folders = places[folders >= 0], folders[folders >= 0]
        lying = distinct(np.concatenate(pairs)) % max(1, len(self.all))
        counts: list[int] = np.bincount(lying, minlength=len(self.all)).tolist()
        return counts


@dataclass(frozen=True)
class Tags:
    """Which photos have which tags.

    Attributes:
        names: every tag, sorted.
        places: int64[m], the photos that have the first tag, then those that have the second, …
        ends: int64[c], where in `places` each tag's photos end.
        meant: by everything that a tag is called, the places in `names` of the tags that it may mean.
    """

    names: tuple[str, ...]
    places: Keys
    ends: Keys
    meant: dict[str, list[int]]

    def having(self, name: str) -> Keys:
        """The places of the photos that the filter `tag:name` leaves, sorted, each once."""
        tags = sorted({tag for form in words.name_forms(name) for tag in self.meant.get(form, ())})
        if len(tags) < 2:
            return self._own(tags[0]) if tags else np.empty(0, np.int64)
        known = self._together.get(tuple(tags))
        if known is None:
            known = self._together[tuple(tags)] = distinct(np.concatenate([self._own(tag) for tag in tags]))
        return known

    def _own(self, tag: int) -> Keys:
        return self.places[self.ends[tag - 1] if tag else 0 : self.ends[tag]]

    @functools.cached_property
    def _together(self) -> dict[tuple[int, ...], Keys]:
        """Of tags that mean several, what was put together: facets ask for the same ones with every answer."""
        return {}


@dataclass(frozen=True)
class Overview:
    """All live photos, each at a place from 0.

    Attributes:
        keys: int64[n], sorted.
        columns: by the key of the filter that asks for them: `camera`, `type`, `is`, `orientation`.
        days: datetime64[D][n], when each was taken; NaT where that is not known.
    """

    keys: Keys
    columns: dict[str, Column]
    days: Days
    folders: Folders
    tags: Tags

    @classmethod
    def read(cls, connection: sqlite3.Connection, known: Columns | None = None) -> Overview:
        """The overview of what is committed; `known` is what is known of it."""
        with one_state(connection):
            found = known or Columns.read(connection)
            keys = np.flatnonzero(found.live)
            of = found.of_photos
            return cls(
                keys,
                {
                    "camera": Column.of(of["camera"], keys),
                    "type": Column.of(of["format"], keys, str.lower),
                    "is": Column.of(of["kind"], keys),
                    "orientation": Column.of(of["shape"], keys, _SHAPES.__getitem__),
                },
                _days(connection, of["day"], keys),
                _folders(connection, found, keys),
                _tags(connection, keys),
            )

    @classmethod
    def empty(cls) -> Overview:
        """The overview of no photos."""
        nothing = np.empty(0, np.int64)
        columns = {name: Column((), np.empty(0, np.int32)) for name in ("camera", "type", "is", "orientation")}
        folders = Folders((), nothing, np.empty(0, np.int32))
        return cls(nothing, columns, np.empty(0, "datetime64[D]"), folders, Tags((), nothing, nothing, {}))

    @functools.cached_property
    def dated(self) -> tuple[Days, Keys]:
        """The days on which photos were taken, and how many on each."""
        days, counts = np.unique(self.days[~np.isnat(self.days)], return_counts=True)
        return days, counts


def _days(connection: sqlite3.Connection, column: columns.Column, keys: Keys) -> Days:
    rows = connection.execute("SELECT coalesce(date(value), 'NaT') FROM json_each(?)", (json.dumps(column.values),))
    days = np.asarray(["NaT", *(row[0] for row in rows)], "datetime64[D]")
    found: Days = days[column.codes[keys]]
    return found


def _tags(connection: sqlite3.Connection, keys: Keys) -> Tags:
    called: dict[str, str] = {}
    having: dict[str, list[Keys]] = {}
    for tag, photos in connection.execute("SELECT tag, group_concat(photo_key) FROM tags GROUP BY tag ORDER BY tag"):
        folded = str(tag).casefold()
        called.setdefault(folded, tag)
        having.setdefault(folded, []).append(numbers_of(photos))
    names: list[str] = []
    ends: list[int] = []
    parts = [np.empty(0, np.int64)]
    total = 0
    for folded, lists in having.items():
        photos = distinct(np.concatenate(lists))
        photos = photos[contained(photos, keys)]
        if len(photos):
            total += len(photos)
            names.append(called[folded])
            ends.append(total)
            parts.append(np.searchsorted(keys, photos))
    numbers = {name.casefold(): number for number, name in enumerate(names)}
    meant = {name: [number] for name, number in numbers.items()}
    for name, tag in connection.execute("SELECT name, tag FROM tag_names"):
        number = numbers.get(tag.casefold())
        if number is not None and number not in meant.setdefault(name, []):
            meant[name].append(number)
    return Tags(tuple(names), np.concatenate(parts), np.asarray(ends, np.int64), meant)


def _folders(connection: sqlite3.Connection, known: Columns, keys: Keys) -> Folders:
    roots: dict[int, bytes] = dict(connection.execute("SELECT key, path FROM libraries"))
    all_folders: list[Folder] = []
    numbers: dict[bytes, int] = {}

    def number(folder: bytes, root: bytes) -> int:
        known = numbers.get(folder)
        if known is None:
            inside = folder != root and paths.is_within(folder, root)
            above = number(os.path.dirname(folder), root) if inside else None
            known = numbers[folder] = len(all_folders)
            shown = paths.display(folder)
            name = os.path.basename(shown.rstrip(os.sep)) or shown
            all_folders.append(Folder(os.path.join(shown, ""), name, above))
        return known

    codes = known.folder.codes[keys]
    photos, owners = known.elsewhere
    here = known.live[photos]
    every = np.concatenate([codes[codes > 0].astype(np.int64) - 1, owners[here]])
    places = np.concatenate([np.flatnonzero(codes), np.searchsorted(keys, photos[here])])
    table = np.zeros(len(known.folder.values), np.int32)
    for one in np.flatnonzero(np.bincount(every)).tolist():
        folder = known.folder.values[one]
        library = connection.execute("SELECT library_key FROM files WHERE folder = ? LIMIT 1", (folder,)).fetchone()
        assert isinstance(folder, bytes)
        table[one] = number(folder, roots.get(library[0], folder) if library else folder)
    return Folders(tuple(all_folders), places, table[every])
