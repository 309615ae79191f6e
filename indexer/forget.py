"""Forgetting: files that are gone, the photos that no file holds any more, libraries that were renamed."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from typing import TYPE_CHECKING

from indexer.absence import Absences
from indexer.report import IndexReport
from indexer.scan import GoneFile, Scan
from indexer.storage import storage_of
from search import failpoints
from search.catalog import changes, settings
from search.catalog.clock import now
from search.catalog.paths import join
from search.home import Home

if TYPE_CHECKING:
    from sqlite_utils import Database


class Renames:
    """Notices that the folder of a library was renamed: its files were found, as they had been, at the same places
    below a folder that is new to the index. Photos copied from a drive that is away look otherwise, or are fewer.

    `new` holds the folders that this run has added.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.new: list[bytes] = []
        self._connection = connection
        self._found: dict[int, set[int]] = {}

    def found(self, key: int, path: bytes, mtime_ns: int) -> None:
        """The photo of the file `key`, whose library is away, was found at `path`."""
        library, root, folder, name, before_ns = self._connection.execute(
            "SELECT libraries.key, path, folder, name, mtime_ns FROM files"
            " JOIN libraries ON libraries.key = library_key WHERE files.key = ?",
            (key,),
        ).fetchone()
        place = join(folder, name)[len(root) :]
        if mtime_ns == before_ns and any(path == new + place for new in self.new):
            self._found.setdefault(library, set()).add(key)

    def settled(self) -> tuple[list[GoneFile], list[GoneFile]]:
        """The files of libraries that were renamed, most of which were found: those that were, and those that were left
        behind, which are gone."""
        moved: list[GoneFile] = []
        left: list[GoneFile] = []
        for library, keys in self._found.items():
            (root,) = self._connection.execute("SELECT path FROM libraries WHERE key = ?", (library,)).fetchone()
            files = self._connection.execute(
                "SELECT key, folder, name, photo_key FROM files WHERE library_key = ?", (library,)
            ).fetchall()
            rest = [row for row in files if row[0] not in keys]
            if sum(photo is not None for *_, photo in rest) < len(keys) and storage_of(root).is_gone(root):
                moved += [(key, folder, name) for key, folder, name, _ in files if key in keys]
                left += [(key, folder, name) for key, folder, name, _ in rest]
        return moved, left


def forget(
    home: Home,
    database: Database,
    scanned: list[bytes],
    found: Scan,
    renames: Renames,
    absences: Absences,
    report: IndexReport,
    grace: timedelta = changes.GRACE,
) -> None:
    """Forget the files that are gone, by what was `found` in the libraries `scanned`, or were left behind by `renames`,
    and all that falls with them; photos without a file are kept for `grace`. Counts in `report`."""
    connection: sqlite3.Connection = database.conn
    moved, left = renames.settled()
    if found.gone or found.left_out or moved or left:
        with database.atomic():
            gone = [*absences.decide([*found.gone, *left]), *found.left_out]
            behind = {key for key, *_ in left}
            held = set()
            for key, folder, name in gone:
                before = connection.total_changes
                held.add(photo := changes.forget_file(connection, key, folder, name))
                # What could not be read in a library that was renamed was read anew with the others.
                report.removed += photo is not None if key in behind else connection.total_changes > before
            for key, folder, name in moved:
                held.add(changes.forget_file(connection, key, folder, name))
            report.moved += len(moved)
            report.added -= len(moved)  # as which they were counted when they were found
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
            if storage_of(path).is_gone(path):
                connection.execute("DELETE FROM libraries WHERE key = ?", (key,))
    if purged:
        failpoints.reach("orphans purged")
        from indexer.thumbnails import KeptThumbnails  # here: it brings Pillow along, which few runs need for this

        thumbnails = KeptThumbnails(home)
        for photo_id in purged:
            thumbnails.remove(photo_id)
