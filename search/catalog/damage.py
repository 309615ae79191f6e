"""What SQLite says of a damaged catalog, as a sentence that tells what to do about it."""

from __future__ import annotations

import sqlite3

from search.errors import DamagedError
from search.home import Home

_CODES = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_TOOBIG)
# What it says of statements that fit every sound catalog, where pages of the schema are damaged; and Python of text.
_SAYINGS = (
    "no such table",
    "no such column",
    "no column named",
    "vtable constructor failed",
    "Could not decode to UTF-8",
)


UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What opening and asking a damaged catalog may raise: where the schema is, Python cannot decode what SQLite says of
it."""


def is_damage(error: Exception) -> bool:
    """Whether SQLite has come upon something in the catalog that cannot be, rather than upon a full disk, a lock or a
    right that is missing."""
    if isinstance(error, UnicodeDecodeError):
        return True
    code = getattr(error, "sqlite_errorcode", None)
    return (code is not None and code & 0xFF in _CODES) or any(saying in str(error) for saying in _SAYINGS)


def damaged(home: Home, what: object) -> DamagedError:
    """The catalog of `home` is damaged, as `what` says."""
    return DamagedError(
        f"The catalog {home.catalog_path} is damaged ({what}): `sightline verify --repair` mends what can be mended, "
        "`sightline restore` puts a backup in its place."
    )
