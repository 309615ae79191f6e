"""Forgetting: files that are gone, the photos that no file holds any more, libraries that were renamed."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

from indexer.absence import Absences
from indexer.scan import GoneFile, Scan
from search import failpoints
from search.catalog import changes, settings
from search.catalog.clock import now
from search.catalog.paths import join
from search.home import Home

if TYPE_CHECKING:
    from sqlite_utils import Database


class Renames:
    """Notices that the folder of a library was renamed: files of it were found, as they had been, at the same places
    below a folder that is new to the index. Photos copied from a drive that is away look otherwise, or are fewer.

    `new` holds the folders that this run has added.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.new: list[bytes] = []
        self._connection = connection
        self._moved: Counter[int] = Counter()

    def moved(self, key: int, path: bytes, mtime_ns: int) -> None:
        """The file `key` of the catalog was found at `path`."""
        library, root, folder, name, before_ns = self._connection.execute(
            "SELECT libraries.key, path, folder, name, mtime_ns FROM files"
            " JOIN libraries ON libraries.key = library_key WHERE files.key = ?",
            (key,),
        ).fetchone()
        place = join(folder, name)[len(root) :]
        if mtime_ns == before_ns and any(path == new + place for new in self.new):
            self._moved[library] += 1

    def left_behind(self) -> list[GoneFile]:
        """Files of renamed libraries that were not found with the others, most of which were: they are gone."""
        files: list[GoneFile] = []
        for library, count in self._moved.items():
            (root,) = self._connection.execute("SELECT path FROM libraries WHERE key = ?", (library,)).fetchone()
            rest = self._connection.execute(
                "SELECT key, folder, name, photo_key FROM files WHERE library_key = ?", (library,)
            ).fetchall()
            if sum(photo is not None for *_, photo in rest) < count and not os.path.isdir(root):
                files += [(key, folder, name) for key, folder, name, _ in rest]
        return files


def forget(
    home: Home,
    database: Database,
    scanned: list[bytes],
    found: Scan,
    renames: Renames,
    absences: Absences,
    grace: timedelta = changes.GRACE,
) -> int:
    """Forget the files that are gone, by what was `found` in the libraries `scanned`, or were left behind by `renames`,
    and all that falls with them; photos without a file are kept for `grace`.

    Returns:
        how many files were forgotten.
    """
    connection: sqlite3.Connection = database.conn
    left = renames.left_behind()
    removed = 0
    if found.gone or found.left_out or left:
        with database.atomic():
            gone = [*absences.decide([*found.gone, *left]), *found.left_out]
            behind = {key for key, *_ in left}
            held = set()
            for key, folder, name in gone:
                before = connection.total_changes
                held.add(photo := changes.forget_file(connection, key, folder, name))
                # What could not be read in a library that was renamed was read anew with the others.
                removed += photo is not None if key in behind else connection.total_changes > before
            changes.mark_orphans(connection, [photo for photo in held if photo is not None])
            settings.grow_revision(connection)
            failpoints.reach("files forgotten")
    with database.atomic():
        purged = changes.purge_orphans(connection, grace)
        for root in scanned:
            connection.execute("UPDATE libraries SET indexed_at = ? WHERE path = ?", (now(), root))
        # A folder that was renamed took its files along to the library that they were found in.
        for key, path in connection.execute(
            "SELECT key, path FROM libraries WHERE key NOT IN (SELECT library_key FROM files)"
        ).fetchall():
            if not os.path.isdir(path):
                connection.execute("DELETE FROM libraries WHERE key = ?", (key,))
    if purged:
        failpoints.reach("orphans purged")
        from indexer.thumbnails import KeptThumbnails  # here: it brings Pillow along, which few runs need for this

        thumbnails = KeptThumbnails(home)
        for photo_id in purged:
            thumbnails.remove(photo_id)
    return removed
