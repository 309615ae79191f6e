"""Forgetting: files that are gone, the photos that no file holds any more, libraries that were renamed."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from typing import TYPE_CHECKING

from search.catalog import changes, settings
from search.catalog.clock import now
from search.home import Home

if TYPE_CHECKING:
    from sqlite_utils import Database

GoneFile = tuple[int, bytes, bytes]
"""Key in the catalog, folder, name."""


def forget(home: Home, database: Database, scanned: list[bytes], gone: list[GoneFile], moved: Counter[int]) -> int:
    """Forget the files that are `gone` from the libraries `scanned`, and all that falls with them.

    `moved` counts, by the libraries' keys, the files that were found elsewhere in this run.

    Returns:
        how many files were forgotten.
    """
    connection: sqlite3.Connection = database.conn
    gone = gone + _left_behind(connection, moved)
    removed = 0
    if gone:
        with database.atomic():
            held = set()
            for key, folder, name in gone:
                before = connection.total_changes
                held.add(changes.forget_file(connection, key, folder, name))
                removed += connection.total_changes > before
            changes.mark_orphans(connection, [photo for photo in held if photo is not None])
            settings.grow_revision(connection)
    with database.atomic():
        purged = changes.purge_orphans(connection)
        for root in scanned:
            connection.execute("UPDATE libraries SET indexed_at = ? WHERE path = ?", (now(), root))
        # A folder that was renamed took its files along to the library that they were found in.
        for key, path in connection.execute(
            "SELECT key, path FROM libraries WHERE key NOT IN (SELECT library_key FROM files)"
        ).fetchall():
            if not os.path.isdir(path):
                connection.execute("DELETE FROM libraries WHERE key = ?", (key,))
    if purged:
        from indexer.thumbnails import Thumbnails  # here, since it brings Pillow along, which few runs need for this

        thumbnails = Thumbnails(home)
        for photo_id in purged:
            thumbnails.remove(photo_id)
    return removed


def _left_behind(connection: sqlite3.Connection, moved: Counter[int]) -> list[GoneFile]:
    """Files of libraries whose folder is not there, and most of whose files were found elsewhere: the folder was
    renamed, and what was not found with the others is gone.
    """
    files: list[GoneFile] = []
    for library, count in moved.items():
        (path,) = connection.execute("SELECT path FROM libraries WHERE key = ?", (library,)).fetchone()
        rest = connection.execute("SELECT key, folder, name FROM files WHERE library_key = ?", (library,)).fetchall()
        if len(rest) < count and not os.path.isdir(path):
            files += rest
    return files
