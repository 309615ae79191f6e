"""What the photos of a catalog have in common (cameras, folders, dates, tags), in arrays that are quick to count in.

Counting in the tables takes a tenth of a second for 100,000 photos and each kind of value, too long for every key that
someone types. So an overview is read once and kept until the catalog changes.
"""

from __future__ import annotations

import functools
import itertools
import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from search.catalog import paths, words
from search.catalog.connection import connect_to_read, one_state
from search.home import Home
from search.query import ORIENTATIONS
from search.vectors.protocol import Keys

Codes = npt.NDArray[np.int32]
Days = npt.NDArray[np.datetime64]

_PATIENCE, _MOST_PATIENCE = 20, 60.0
"""While the catalog keeps changing, an overview is used for so many times as long as reading it took, and for a minute
at most: a run of the indexer then costs searches little."""
_PHOTOS = """
SELECT key, camera, lower(format), kind, (width > height) - (width < height), date(substr(taken_at, 1, 10))
FROM photos WHERE orphaned_at IS NULL ORDER BY key
"""
_FILES = """
SELECT photo_key, library_key, folder FROM files JOIN photos ON photos.key = photo_key
WHERE orphaned_at IS NULL GROUP BY photo_key, folder
"""
_TAGS = "SELECT tag, photo_key FROM tags ORDER BY tag"


@dataclass(frozen=True)
class Column:
    """One value for each photo: `names[codes[i]]`, or none where the code is -1."""

    names: tuple[str, ...]
    codes: Codes

    @classmethod
    def of(cls, values: Sequence[str | None]) -> Column:
        """The column of these values."""
        numbers: dict[str | None, int] = {None: -1}
        codes = np.fromiter((numbers.setdefault(value, len(numbers) - 1) for value in values), np.int32, len(values))
        return cls(tuple(name for name in numbers if name is not None), codes)

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
        lying = np.unique(np.concatenate(pairs)) % max(1, len(self.all))
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
            known = self._together[tuple(tags)] = np.unique(np.concatenate([self._own(tag) for tag in tags]))
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
    def read(cls, connection: sqlite3.Connection) -> Overview:
        """The overview of what is committed."""
        with one_state(connection):
            rows = connection.execute(_PHOTOS).fetchall()
            keys, cameras, formats, kinds, shapes, days = zip(*rows, strict=True) if rows else ([],) * 6
            landscape, portrait, square = ORIENTATIONS
            all_keys = np.asarray(keys, np.int64)
            return cls(
                all_keys,
                {
                    "camera": Column.of(cameras),
                    "type": Column.of(formats),
                    "is": Column.of(kinds),
                    "orientation": Column.of([(square, landscape, portrait)[shape] for shape in shapes]),
                },
                np.asarray([day or "NaT" for day in days], "datetime64[D]"),
                _folders(connection, all_keys),
                _tags(connection, all_keys),
            )

    @classmethod
    def empty(cls) -> Overview:
        """The overview of no photos."""
        nothing = np.empty(0, np.int64)
        columns = {name: Column.of([]) for name in ("camera", "type", "is", "orientation")}
        folders = Folders((), nothing, np.empty(0, np.int32))
        return cls(nothing, columns, np.empty(0, "datetime64[D]"), folders, Tags((), nothing, nothing, {}))

    def places(self, keys: Keys) -> Keys:
        """Where those of the photos `keys` stand that it has, int64[m], m <= n."""
        found = np.searchsorted(self.keys, keys)
        found = found[found < len(self.keys)]
        return found[np.isin(self.keys[found], keys)]

    @functools.cached_property
    def dated(self) -> tuple[Days, Keys]:
        """The days on which photos were taken, and how many on each."""
        days, counts = np.unique(self.days[~np.isnat(self.days)], return_counts=True)
        return days, counts


def _tags(connection: sqlite3.Connection, keys: Keys) -> Tags:
    names: list[str] = []
    ends: list[int] = []
    parts = [np.empty(0, np.int64)]
    total = 0
    for _, rows in itertools.groupby(connection.execute(_TAGS), key=lambda row: str(row[0]).casefold()):
        found = list(rows)
        photos = np.unique(np.asarray([row[1] for row in found], np.int64))
        photos = photos[np.isin(photos, keys)]
        if len(photos):
            total += len(photos)
            names.append(found[0][0])
            ends.append(total)
            parts.append(np.searchsorted(keys, photos))
    numbers = {name.casefold(): number for number, name in enumerate(names)}
    meant = {name: [number] for name, number in numbers.items()}
    for name, tag in connection.execute("SELECT name, tag FROM tag_names"):
        number = numbers.get(tag.casefold())
        if number is not None and number not in meant.setdefault(name, []):
            meant[name].append(number)
    return Tags(tuple(names), np.concatenate(parts), np.asarray(ends, np.int64), meant)


def _folders(connection: sqlite3.Connection, keys: Keys) -> Folders:
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

    rows = connection.execute(_FILES).fetchall()
    photos = np.asarray([row[0] for row in rows], np.int64)
    folders = np.asarray([number(folder, roots.get(library, folder)) for _, library, folder in rows], np.int32)
    places = np.searchsorted(keys, photos)
    known = np.isin(photos, keys)
    return Folders(tuple(all_folders), places[known], folders[known])


class Overviews:
    """The overview of a home, read anew when its catalog has changed. Safe to use from many threads."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._state: tuple[object, ...] = ()
        self._overview: Overview | None = None
        self._good_until = 0.0
        self._reading = False

    def now(self) -> Overview:
        """What is committed, or was some moments ago if the catalog changes all the time; while a thread reads it anew,
        the others go on with what was.

        Raises:
            CatalogError: there is no index any more.
        """
        with self._lock:
            # Taken before anything is read: what is committed meanwhile makes it another one.
            state = self._catalog_state()
            known = self._overview
            if known is not None and (self._reading or state == self._state or time.monotonic() < self._good_until):
                return known
            if known is None:
                return self._read(state)
            self._reading = True
        try:
            return self._read(state)
        finally:
            self._reading = False

    def _read(self, state: tuple[object, ...]) -> Overview:
        began = time.monotonic()
        # On a connection of its own: the caller's may be in the middle of an earlier state.
        with closing(connect_to_read(self._home)) as connection:
            self._overview, self._state = Overview.read(connection), state
        ended = time.monotonic()
        self._good_until = ended + min(_MOST_PATIENCE, _PATIENCE * (ended - began))
        return self._overview

    def _catalog_state(self) -> tuple[object, ...]:
        """Other after each commit, whoever made it: not every one that matters here grows the revision."""
        found: list[object] = []
        for path in (self._home.catalog_path, self._home.catalog_path.with_name(self._home.catalog_path.name + "-wal")):
            try:
                status = os.stat(path)
                found += [status.st_ino, status.st_size, status.st_mtime_ns]
            except OSError:
                found.append(None)
        return tuple(found)
