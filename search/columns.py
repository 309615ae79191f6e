"""What filters ask of photos, in arrays by photo key, so that a filter which many photos pass costs a comparison each
rather than a row of the catalog.

A value is kept once, and its number with every photo that has it: about 15 bytes a photo in all. Rows come as JSON,
some thousands at once, which is several times as fast as one after another.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from search.postings import Numbers, check_keys, numbers
from search.vectors.protocol import Keys
from search.vectors.selection import Flags, distinct

Codes = npt.NDArray[np.unsignedinteger]

OF_PHOTOS = {
    "day": "CAST(substr(taken_at, 1, 10) AS TEXT)",
    "camera": "CAST(camera AS TEXT)",
    "format": "CAST(format AS TEXT)",
    "kind": "CAST(kind AS TEXT)",
    "shape": "(width > height) - (width < height)",
}
"""Columns in SQL; `shape` is 1 of what is wider than high, -1 of what is higher than wide, 0 of squares."""
_CHUNK = 20_000  # photos
_MOST_MOVED = 20_000
"""Where so many photos were written since the order by date was read, it is read anew."""


@dataclass(frozen=True)
class Column:
    """A value for each photo that has one.

    Attributes:
        values: each once.
        codes: by key: 1 + the place in `values` of the photo's value, 0 where it has none.
    """

    values: tuple[object, ...]
    codes: Codes

    def having(self, wanted: Flags) -> Flags:
        """Which photos have one of the values that are `wanted`: bool[h]."""
        table = np.zeros(len(self.values) + 1, np.bool_)
        table[1:] = wanted
        found: Flags = table[self.codes]
        return found

    def changed(self, keys: Keys, height: int, found: dict[object, Keys]) -> Column:
        """The column of `height` keys in which the photos `keys` have the values `found`, or none."""
        values = dict.fromkeys(self.values) | dict.fromkeys(found)
        codes = np.zeros(height, np.min_scalar_type(len(values)))
        codes[: len(self.codes)] = self.codes
        codes[keys] = 0
        places = {value: place for place, value in enumerate(values, start=1)}
        for value, owners in found.items():
            codes[owners] = places[value]
        return Column(tuple(values), codes)


@dataclass(frozen=True)
class Columns:
    """Of all live photos, by key, in one state of the catalog.

    Attributes:
        live: bool[h].
        of_photos: by the names of `OF_PHOTOS`.
        folder: where the photo lies, bytes; of several files one.
        elsewhere: int32[e], int32[e]: photos that lie in further folders, and these, as places in `folder.values`.
        by_date: int32[m], the newest first, as they were when it was read.
        moved: int64[w], sorted, the photos that something was written about since.
    """

    live: Flags
    of_photos: dict[str, Column]
    folder: Column
    elsewhere: tuple[Numbers, Numbers]
    by_date: Numbers
    moved: Keys

    @classmethod
    def read(cls, connection: sqlite3.Connection) -> Columns:
        """What a connection sees.

        Raises:
            UnfitError: see `search.postings.check_keys`.
        """
        nothing = Column((), np.zeros(0, np.uint8))
        empty = np.empty(0, np.int32)
        columns = cls(
            np.zeros(0, np.bool_),
            dict.fromkeys(OF_PHOTOS, nothing),
            nothing,
            (empty, empty),
            empty,
            np.empty(0, np.int64),
        )
        lowest, highest, count = connection.execute(
            "SELECT coalesce(min(key), 0), coalesce(max(key), 0), count(*) FROM photos"
        ).fetchone()
        check_keys(lowest, highest, count)
        found, folders = _Rows(), _Folders()
        for start in range(0, highest + 1, _CHUNK):
            found.read(connection, "rowid BETWEEN ? AND ?", (start, start + _CHUNK - 1))
        (last,) = connection.execute("SELECT coalesce(max(rowid), 0) FROM files").fetchone()
        for start in range(0, last + 1, _CHUNK):
            folders.read(connection, "rowid BETWEEN ? AND ?", (start, start + _CHUNK - 1))
        return columns._with(np.empty(0, np.int64), found, folders, _order(connection), np.empty(0, np.int64))

    def update(self, connection: sqlite3.Connection, changed: Keys) -> Columns:
        """The columns after something was written about the photos `changed`."""
        listed = (json.dumps(changed.tolist()),)
        found, folders = _Rows(), _Folders()
        found.read(connection, "key IN (SELECT value FROM json_each(?))", listed)
        check_keys(int(found.keys.min(initial=0)), int(found.keys.max(initial=0)), len(self.live) + len(found.keys))
        folders.read(connection, "photo_key IN (SELECT value FROM json_each(?))", listed)
        by_date, moved = self.by_date, distinct(np.concatenate([self.moved, changed]))
        if len(moved) > _MOST_MOVED:
            by_date, moved = _order(connection), np.empty(0, np.int64)
        return self._with(changed, found, folders, by_date, moved)

    def _with(self, changed: Keys, found: _Rows, folders: _Folders, by_date: Numbers, moved: Keys) -> Columns:
        keys = found.keys
        height = max(len(self.live), int(keys.max(initial=-1)) + 1)
        changed = changed[(changed >= 0) & (changed < height)]
        live = np.zeros(height, np.bool_)
        live[: len(self.live)] = self.live
        live[changed], live[keys] = False, True
        first, further = folders.split(live)
        folder = self.folder.changed(changed, height, dict(first))
        places = {value: place for place, value in enumerate(folder.values)}
        stay = ~np.isin(self.elsewhere[0], changed)
        return Columns(
            live,
            {name: column.changed(changed, height, found.owners(name)) for name, column in self.of_photos.items()},
            folder,
            (
                np.concatenate([self.elsewhere[0][stay], *(owners for _, owners in further)]).astype(np.int32),
                np.concatenate(
                    [self.elsewhere[1][stay], *(np.full(len(owners), places[value]) for value, owners in further)]
                ).astype(np.int32),
            ),
            by_date,
            moved,
        )

    def newest(self, connection: sqlite3.Connection, passing: Flags, count: int) -> Keys:
        """The `count` newest of the photos that pass, bool[h], newest first; `connection` sees this state."""
        if not len(self.moved):
            return self.by_date[passing[self.by_date]][:count].astype(np.int64)
        moved = self.moved[self.moved < len(passing)]
        unmoved = passing.copy()
        unmoved[moved] = False
        found = self.by_date[unmoved[self.by_date]][:count].astype(np.int64)
        if len(again := moved[passing[moved]]):
            found = np.concatenate([found, again])
            found = found[by_date(connection, found)][:count]
        return found


def by_date(connection: sqlite3.Connection, keys: Keys) -> Keys:
    """The places in `keys` of the newest photo, the one before it, and so on."""
    rows = connection.execute(
        "SELECT key FROM photos WHERE key IN (SELECT value FROM json_each(?)) ORDER BY sort_at DESC, key DESC",
        (json.dumps(keys.tolist()),),
    )
    places = {key: place for place, key in enumerate(keys.tolist())}
    return np.asarray([places[row[0]] for row in rows], np.int64)


def _order(connection: sqlite3.Connection) -> Numbers:
    rows = connection.execute("SELECT key FROM photos WHERE orphaned_at IS NULL ORDER BY sort_at DESC, key DESC")
    return np.fromiter(rows, [("key", np.int32)])["key"]


class _Rows:
    """Rows of photos: who has which value of each column."""

    def __init__(self) -> None:
        self._keys = [np.empty(0, np.int64)]
        self._values: dict[str, dict[object, int]] = {name: {} for name in OF_PHOTOS}
        self._codes: dict[str, list[npt.NDArray[np.int32]]] = {name: [] for name in OF_PHOTOS}

    @property
    def keys(self) -> Keys:
        return np.concatenate(self._keys)

    def read(self, connection: sqlite3.Connection, where: str, bound: Sequence[object]) -> None:
        # As bytes: what a damaged catalog has for text may be none.
        listed = ", ".join(f"CAST(json_group_array({sql}) AS BLOB)" for sql in OF_PHOTOS.values())
        keys, *columns = connection.execute(
            f"SELECT group_concat(key), {listed} FROM photos WHERE orphaned_at IS NULL AND {where}", bound
        ).fetchone()
        self._keys.append(numbers(keys))
        for name, column in zip(OF_PHOTOS, columns, strict=True):
            values, known = json.loads(column.decode("utf-8", "replace")), self._values[name]
            for value in dict.fromkeys(values):
                known.setdefault(value, len(known))
            self._codes[name].append(np.fromiter(map(known.__getitem__, values), np.int32, len(values)))

    def owners(self, name: str) -> dict[object, Keys]:
        """The photos that have each of the values of a column."""
        codes, keys = np.concatenate([np.empty(0, np.int32), *self._codes[name]]), self.keys
        order = np.argsort(codes, kind="stable")
        ends = np.searchsorted(codes[order], np.arange(len(self._values[name])), side="right")
        parts = np.split(keys[order], ends[:-1]) if len(ends) else []
        return {value: owners for value, owners in zip(self._values[name], parts, strict=True) if value is not None}


class _Folders:
    """Rows of files: who lies in which folder."""

    def __init__(self) -> None:
        self._owners: dict[bytes, list[Keys]] = {}

    def read(self, connection: sqlite3.Connection, where: str, bound: Sequence[object]) -> None:
        for folder, owners in connection.execute(
            f"SELECT folder, group_concat(photo_key) FROM files WHERE photo_key IS NOT NULL AND {where} GROUP BY 1",
            bound,
        ):
            self._owners.setdefault(folder, []).append(numbers(owners))

    def split(self, live: Flags) -> tuple[list[tuple[object, Keys]], list[tuple[object, Keys]]]:
        """For each folder the live photos for which it is the first one, and those that lie in others, too."""
        placed = np.zeros(len(live), np.bool_)
        first: list[tuple[object, Keys]] = []
        further: list[tuple[object, Keys]] = []
        for folder, parts in self._owners.items():
            owners = distinct(np.concatenate(parts))
            owners = owners[owners < len(live)]
            owners = owners[live[owners]]
            first.append((folder, owners[~placed[owners]]))
            further.append((folder, owners[placed[owners]]))
            placed[owners] = True
        return first, [(folder, owners) for folder, owners in further if len(owners)]
