"""What could not be read or described, each with one sentence on why: all of it, or a page."""

from __future__ import annotations

import sqlite3

from search.catalog import descriptions, paths
from search.catalog.descriptions import CAPTIONS, TEXT

_FILES = "FROM files WHERE failure IS NOT NULL"
_PHOTOS = (
    " FROM descriptions WHERE descriptions.failure IS NOT NULL AND stage IN (?, ?)"
    " AND author = (SELECT value FROM settings WHERE name = stage || '_author')"
    " AND EXISTS (SELECT 1 FROM files WHERE files.photo_key = descriptions.photo_key)"
)


def count(connection: sqlite3.Connection) -> int:
    """How many there are in all."""
    (photos,) = connection.execute(f"SELECT count(*) {_PHOTOS}", _wanted(connection)).fetchone()
    return _files(connection) + int(photos)


def page(connection: sqlite3.Connection, limit: int = -1, offset: int = 0) -> list[dict[str, str]]:
    """`limit` of them from `offset` on, or all: the files that could not be read, by path, then the photos that could
    not be described, in the order in which they were indexed (sorting them by path would take a look at all)."""
    found = [
        (folder, name, "read", reason)
        for folder, name, reason in connection.execute(
            f"SELECT folder, name, failure {_FILES} ORDER BY folder, name LIMIT ? OFFSET ?", (limit, offset)
        )
    ]
    if limit < 0 or len(found) < limit:
        passed = max(0, offset - _files(connection)) if offset else 0
        found += connection.execute(
            "SELECT folder, name, stage, reason FROM"
            f" (SELECT photo_key AS photo, stage, failure AS reason {_PHOTOS} ORDER BY 1, 2 LIMIT ? OFFSET ?)"
            " JOIN files ON key = (SELECT min(key) FROM files WHERE photo_key = photo) ORDER BY photo, stage",
            (*_wanted(connection), limit - len(found) if limit >= 0 else -1, passed),
        )
    return [
        {"path": paths.display(paths.join(folder, name)), "stage": stage, "reason": reason}
        for folder, name, stage, reason in found
    ]


def _files(connection: sqlite3.Connection) -> int:
    return int(connection.execute(f"SELECT count(*) {_FILES}").fetchone()[0])


def _wanted(connection: sqlite3.Connection) -> list[str]:
    """The two stages, with nothing in the place of one that the home does not want."""
    return [stage if descriptions.is_wanted(connection, stage) else "" for stage in (CAPTIONS, TEXT)]
