"""Saved searches: what to ask again, under a name. Not what was found then: each time the present library answers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from search.catalog.clock import now
from search.catalog.connection import editing
from search.catalog.damage import damaged, is_damage
from search.errors import CatalogError, SightlineError
from search.home import Home

MOST = 200
LONGEST_NAME = 200
"""Characters."""


@dataclass(frozen=True)
class SavedSearch:
    """A search that somebody keeps.

    Attributes:
        like: photos, or parts of photos, to search by, as `POST /api/search` takes them.
    """

    id: int
    name: str
    q: str
    mode: str
    sort: str
    include_all: bool
    collapse: bool
    like: tuple[str, ...]
    saved_at: str


_COLUMNS = "name, q, mode, sort, include_all, collapse, liked, saved_at"


def saved_searches(connection: sqlite3.Connection) -> list[SavedSearch]:
    """All of them, the newest first."""
    rows = connection.execute(f"SELECT key, {_COLUMNS} FROM searches ORDER BY key DESC")
    return [
        SavedSearch(key, name, q, mode, sort, bool(include_all), bool(collapse), tuple(liked.split()), saved_at)
        for key, name, q, mode, sort, include_all, collapse, liked, saved_at in rows
    ]


def save(
    home: Home,
    *,
    name: str,
    q: str = "",
    mode: str = "auto",
    sort: str = "relevance",
    include_all: bool = False,
    collapse: bool = False,
    like: tuple[str, ...] = (),
) -> SavedSearch:
    """Keep a search under a name.

    Raises:
        SightlineError: so many are kept already.
        CatalogError: there is no index, or it cannot be written.
    """
    values = (_clean(name), _clean(q), mode, sort, include_all, collapse, " ".join(like), now())
    with _editing(home) as connection:
        if connection.execute("SELECT count(*) FROM searches").fetchone()[0] >= MOST:
            raise SightlineError(f"{MOST} searches are saved already; remove one first.")
        key = connection.execute(
            f"INSERT INTO searches ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING key", values
        ).fetchone()[0]
        return next(one for one in saved_searches(connection) if one.id == key)


def rename(home: Home, key: int, name: str) -> SavedSearch | None:
    """Give a saved search another name; None if there is no such search. Raises `CatalogError` as `save` does."""
    with _editing(home) as connection:
        connection.execute("UPDATE searches SET name = ? WHERE key = ?", (_clean(name), key))
        return next((one for one in saved_searches(connection) if one.id == key), None)


def forget(home: Home, key: int) -> bool:
    """Remove a saved search; whether there was one. Raises `CatalogError` as `save` does."""
    with _editing(home) as connection:
        return connection.execute("DELETE FROM searches WHERE key = ?", (key,)).rowcount > 0


def _clean(text: str) -> str:
    return " ".join(text.encode("utf-8", "replace").decode().split())


@contextmanager
def _editing(home: Home) -> Iterator[sqlite3.Connection]:
    try:
        with editing(home) as connection:
            yield connection
    except sqlite3.Error as error:
        if is_damage(error):
            raise damaged(home, error) from error
        raise CatalogError(f"The saved searches could not be written: {error}.") from error
