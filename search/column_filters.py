"""A query's filters asked of columns in memory: as `search.filters`, which asks the catalog for every photo.

A condition on a column is asked of each of its values once, by SQLite itself, and what it says holds for all photos
that have it. What few photos have an entry for, words and tags, indexes of the catalog give as a list.
"""

from __future__ import annotations

import json
import sqlite3

import numpy as np

from search.columns import Columns
from search.filters import (
    Select,
    allowed_keys,
    condition,
    has_conditions,
    of_folder,
    of_photo,
    standing,
    tagged,
    unwanted,
)
from search.followed import Followed, When
from search.query import Filter, Query
from search.vectors.protocol import Keys
from search.vectors.selection import Flags

_DATES = ("after", "before", "on")
_COLUMNS = {"camera": "camera", "type": "format", "is": "kind", "orientation": "shape", **dict.fromkeys(_DATES, "day")}
_VALUES = {
    "day": "value AS taken_at",
    "camera": "value AS camera",
    "format": "value AS format",
    "kind": "value AS kind",
    "shape": "1 + value AS width, 1 AS height",
}
"""A value of a column as the row of a photo that has it."""


class ColumnFilters:
    """The columns of one catalog, as filters ask them. Safe to use from many threads."""

    def __init__(self) -> None:
        self._columns = Followed(Columns.read, lambda columns, connection, changed: columns.update(connection, changed))

    def at(self, connection: sqlite3.Connection, when: When = "settled") -> Columns | None:
        """The columns in the state that `connection` sees; None where the catalog is to be asked: `Followed.at`."""
        return self._columns.at(connection, when)

    def live(self, connection: sqlite3.Connection) -> Keys | None:
        """The photos that are there, int64[n], sorted; None where nothing asked for columns yet."""
        columns = self.at(connection, "never")
        return None if columns is None else np.flatnonzero(columns.live)

    def allowed(self, connection: sqlite3.Connection, query: Query) -> Keys | None:
        """See `search.filters.allowed_keys`."""
        if not has_conditions(query):
            return None
        columns = self.at(connection)
        return (
            allowed_keys(connection, query) if columns is None else np.flatnonzero(passing(connection, columns, query))
        )

    def newest(self, connection: sqlite3.Connection, query: Query, count: int) -> tuple[int, Keys]:
        """How many photos pass the query's filters, and the `count` newest of them, int64[n], newest first."""
        columns = self.at(connection)
        if columns is not None:
            passes = passing(connection, columns, query)
            return int(passes.sum()), columns.newest(connection, passes, count)
        sql, values = condition(query)
        (total,) = connection.execute(f"SELECT count(*) FROM photos WHERE {sql}", values).fetchone()
        rows = connection.execute(
            f"SELECT key FROM photos WHERE {sql} ORDER BY sort_at DESC, key DESC LIMIT ?", (*values, count)
        )
        return total, np.fromiter(rows, [("key", np.int64)])["key"]


def passing(connection: sqlite3.Connection, columns: Columns, query: Query) -> Flags:
    """Which photos pass the query's filters, bool[h], by key; `connection` sees the state of the columns."""
    found = columns.live.copy()
    for one in query.filters:
        passes = _one(connection, columns, one)
        found &= ~passes if one.negative else passes
    for text in query.exact:
        if selects := standing(text):
            found &= _any_of(connection, selects, len(found))
    for text in query.excluded:
        found &= ~_any_of(connection, unwanted(text), len(found))
    return found


def _one(connection: sqlite3.Connection, columns: Columns, one: Filter) -> Flags:
    if one.key == "folder":
        return _in_folder(connection, columns, one.value)
    asked = of_photo(one)
    if asked is None:
        return _any_of(connection, tagged(one.value), len(columns.live))
    name = _COLUMNS[one.key]
    column, (sql, values) = columns.of_photos[name], asked
    rows = connection.execute(
        f"SELECT place FROM (SELECT key AS place, {_VALUES[name]} FROM json_each(?)) WHERE {sql}",
        (json.dumps(column.values), *values),
    )
    wanted = np.zeros(len(column.values), np.bool_)
    wanted[[row[0] for row in rows]] = True
    return column.having(wanted)


def _in_folder(connection: sqlite3.Connection, columns: Columns, value: str) -> Flags:
    sql, values = of_folder(value)
    asked = f"SELECT {sql} FROM (SELECT ? AS folder)"
    # One after another: JSON takes no names in bytes.
    wanted = np.asarray(
        [bool(connection.execute(asked, (*values, folder)).fetchone()[0]) for folder in columns.folder.values], np.bool_
    )
    found = columns.folder.having(wanted)
    photos, folders = columns.elsewhere
    found[photos[wanted[folders]]] = True
    return found


def _any_of(connection: sqlite3.Connection, selects: list[Select], height: int) -> Flags:
    found = np.zeros(height, np.bool_)
    for one in selects:
        keys = one.keys(connection)
        found[keys[keys < height]] = True
    return found
