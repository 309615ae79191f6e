"""The changelog: which photos something was written about, in the order of the commits, so that what readers hold in
memory is brought up to date without reading the catalog anew.

Triggers write it (`search.catalog.schema`), and `search.catalog.words`. The last 100,000 entries are kept.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from search.vectors.protocol import Keys


class Entry(NamedTuple):
    """An entry: its number, and a random one, by which it is known from that of another catalog."""

    number: int
    mark: int


def last(connection: sqlite3.Connection) -> Entry | None:
    """The last entry: another one after each commit that changed what searches by words or filters find. None where
    the catalog is damaged."""
    row = connection.execute("SELECT number, mark FROM changelog ORDER BY number DESC LIMIT 1").fetchone()
    return Entry(*row) if row else None


def since(connection: sqlite3.Connection, entry: Entry) -> Keys | None:
    """The photos that something was written about after an entry, int64[n], sorted; None where that is not known any
    more."""
    import numpy as np

    if connection.execute("SELECT mark FROM changelog WHERE number = ?", (entry.number,)).fetchone() != (entry.mark,):
        return None
    rows = connection.execute("SELECT DISTINCT photo_key FROM changelog WHERE number > ?", (entry.number,)).fetchall()
    if not all(isinstance(key, int) for (key,) in rows):
        return None  # damaged: nobody knows whose it was
    return np.sort(np.asarray([key for (key,) in rows], np.int64))


def start_anew(connection: sqlite3.Connection) -> None:
    """Let every reader read everything again: something was written that has no entries, or entries are lost."""
    connection.execute("DELETE FROM changelog")
    note(connection, [0])  # with a number that was never there


def note(connection: sqlite3.Connection, photo_keys: Iterable[int]) -> None:
    """Enter photos whose words were written."""
    connection.executemany("INSERT INTO changelog (photo_key) VALUES (?)", ((key,) for key in photo_keys))
