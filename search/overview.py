"""What the photos of a catalog have in common (cameras, folders, dates, tags), in arrays that are quick to count in.

Counting in the tables takes a tenth of a second for 100,000 photos and each kind of value, too long for every key that
someone types. So an overview is read once and kept until the catalog changes.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from search.catalog import paths
from search.home import Home
from search.query import ORIENTATIONS
from search.vectors.protocol import Keys

Codes = npt.NDArray[np.int32]
Days = npt.NDArray[np.datetime64]

_PATIENCE = 20
"""While the catalog keeps changing, an overview is used for so many times as long as reading it took: a run of the
indexer then costs searches little, and counts are a few seconds old at most."""
_PHOTOS = """
SELECT key, camera, lower(format), kind, (width > height) - (width < height), date(substr(taken_at, 1, 10))
FROM photos WHERE orphaned_at IS NULL ORDER BY key
"""
_FILES = """
SELECT photo_key, library_key, folder FROM files JOIN photos ON photos.key = photo_key
WHERE orphaned_at IS NULL GROUP BY photo_key, folder
"""
_TAGS = """
SELECT tag, count(*) FROM tags JOIN photos ON key = photo_key WHERE orphaned_at IS NULL GROUP BY tag
ORDER BY count(*) DESC, tag
"""


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


@dataclass(frozen=True)
class Overview:
    """All live photos, each at a place from 0.

    Attributes:
        keys: int64[n], sorted.
        columns: by the key of the filter that asks for them: `camera`, `type`, `is`, `orientation`.
        days: datetime64[D][n], when each was taken; NaT where that is not known.
        tags: how many photos have each tag, the most frequent first.
        tag_names: by everything that a tag is called, the tags that it may mean.
    """

    keys: Keys
    columns: dict[str, Column]
    days: Days
    folders: Folders
    tags: dict[str, int]
    tag_names: dict[str, list[str]]

    @classmethod
    def read(cls, connection: sqlite3.Connection) -> Overview:
        """The overview of what is committed."""
        rows = connection.execute(_PHOTOS).fetchall()
        keys, cameras, formats, kinds, shapes, days = zip(*rows, strict=True) if rows else ([],) * 6
        landscape, portrait, square = ORIENTATIONS
        all_keys = np.asarray(keys, np.int64)
        names: dict[str, list[str]] = {}
        for name, tag in connection.execute("SELECT name, tag FROM tag_names ORDER BY name, tag"):
            names.setdefault(name, []).append(tag)
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
            dict(connection.execute(_TAGS)),
            names,
        )

    def places(self, keys: Keys) -> Keys:
        """Where those of the photos `keys` stand that it has, int64[m], m <= n."""
        found = np.searchsorted(self.keys, keys)
        found = found[found < len(self.keys)]
        return found[np.isin(self.keys[found], keys)]


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

    def now(self, connection: sqlite3.Connection) -> Overview:
        """What is committed, or was some moments ago if the catalog changes all the time."""
        with self._lock:
            state = self._catalog_state()
            if self._overview is None or (state != self._state and time.monotonic() > self._good_until):
                began = time.monotonic()
                self._overview, self._state = Overview.read(connection), state
                ended = time.monotonic()
                self._good_until = ended + _PATIENCE * (ended - began)
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
