"""Small named values of the home: the model it uses, the revision of the catalog."""

from __future__ import annotations

import secrets
import sqlite3
import time


def get(connection: sqlite3.Connection, name: str) -> str | None:
    """The value kept under `name`, or None."""
    row = connection.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def put(connection: sqlite3.Connection, name: str, value: str) -> None:
    """Keep `value` under `name`."""
    connection.execute(
        "INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )


def revision(connection: sqlite3.Connection) -> int:
    """A number that grows with every commit that changes which photos a search may find by their vectors, or what it
    compares them with; readers compare it. Words have a `search.catalog.words.state` of their own."""
    return int(get(connection, "revision") or 0)


def grow_revision(connection: sqlite3.Connection) -> None:
    """Tell readers that there is something new; called in the transaction that makes it so."""
    connection.execute("UPDATE settings SET value = value + 1 WHERE name = 'revision'")


def put_missing(connection: sqlite3.Connection) -> None:
    """Put back what every catalog has, where it was lost: a revision that no reader has seen, and other states."""
    for name, value in (
        ("revision", str(int(time.time()))),
        ("dismissals", str(int(time.time()))),
        ("words_state", secrets.token_hex(8)),
    ):
        if get(connection, name) is None:
            put(connection, name, value)
