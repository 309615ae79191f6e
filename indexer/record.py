"""Recording what was read: each group of files becomes one transaction, in which a search finds all of it or none."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from indexer.forget import Renames
from indexer.pipeline import ReadFile
from indexer.report import IndexReport
from indexer.storage import storage_of
from search import failpoints
from search.catalog import changes, descriptions, jobs, settings, words
from search.catalog.model_records import ModelRecord
from search.catalog.paths import join
from search.vectors import stored

if TYPE_CHECKING:
    from sqlite_utils import Database

    from search.vectors.protocol import Floats

GROUP_FILES = 1024
GROUP_SECONDS = 1.0
"""A group is committed when it has so many files or is so old: what a crash can lose."""


class Recorder:
    """Gathers read files with their embeddings and commits them in groups."""

    def __init__(
        self,
        database: Database,
        model: ModelRecord,
        job: int,
        report: IndexReport,
        library_of: Callable[[bytes], int],
        gone: set[int],
        renames: Renames,
    ) -> None:
        """Record into `database` for `model`; `gone` holds the keys of files that the scan missed, and `renames` hears
        of files that were found elsewhere.
        """
        self._database = database
        self._connection: sqlite3.Connection = database.conn
        self._model = model
        self._job = job
        self._report = report
        self._library_of = library_of
        self._gone = gone
        self._renames = renames
        self._group: list[tuple[ReadFile, bytes | None]] = []
        self._began = time.monotonic()
        self._there: dict[bytes, bool] = {}

    def add(self, files: list[ReadFile], vectors: Floats) -> None:
        """Take files in; `vectors` (float32[m, d]) belong, in order, to those that have a photo."""
        rows = iter(vectors)
        for file in files:
            self._group.append((file, stored.pack(next(rows)) if file.photo is not None else None))
        if len(self._group) >= GROUP_FILES or time.monotonic() - self._began >= GROUP_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Make all that was taken in permanent, and visible to searches."""
        if self._group:
            before = self._report.counts()
            try:
                with self._database.atomic():
                    self._write()
                    failpoints.reach("group written")
            except BaseException:
                for name, count in before.items():
                    setattr(self._report, name, count)
                raise
            failpoints.reach("group committed")
        self._group.clear()
        self._began = time.monotonic()

    def _write(self) -> None:
        changed: set[int] = set()
        left: set[int] = set()
        replaced: list[tuple[int, int]] = []
        for file, vector in self._group:
            if file.left_alone:
                continue
            if file.failure is not None:
                self._report.failed += 1
                left.update(self._held_before(file))  # asked first: what follows strikes it out
                self._put(file, None)
                continue
            photo = self._photo(file, vector)
            if photo is None:
                continue
            for before in self._held_before(file):
                if before != photo:
                    left.add(before)
                    replaced.append((before, photo))
            self._place(file, photo)
            changed.add(photo)
        for before, photo in replaced:
            descriptions.hand_on_own_caption(self._connection, before, photo)
        words.refresh(self._connection, changed)
        changes.mark_orphans(self._connection, left)
        jobs.update(self._connection, self._job, self._report.counts())
        settings.grow_revision(self._connection)

    def _photo(self, file: ReadFile, vector: bytes | None) -> int | None:
        """The key of the file's photo, which has an embedding when this returns."""
        photo = changes.embedded_photo(self._connection, self._model.key, file.id)
        if photo is not None:
            changes.bring_back(self._connection, photo)
            return photo
        if file.photo is None or vector is None:
            return None  # it was known when it was read, but has been forgotten since; the next run reads it
        photo = changes.put_photo(self._connection, file.photo)
        changes.put_embedding(self._connection, self._model.key, photo, vector)
        self._report.embedded += 1
        return photo

    def _place(self, file: ReadFile, photo: int) -> None:
        """Record where the photo lies, and count what that means for the library."""
        before = self._connection.execute(
            "SELECT photo_key FROM files WHERE folder = ? AND name = ?", (file.found.folder, file.found.name)
        ).fetchone()
        if before is None:
            moved_from = self._moved_from(photo, file)
            if moved_from is not None:
                self._gone.discard(moved_from)  # it is somewhere again: another file of the same photo is a new one
                self._connection.execute(
                    "UPDATE files SET folder = ?, name = ? WHERE key = ?",
                    (file.found.folder, file.found.name, moved_from),
                )
            self._report.moved += moved_from is not None
            self._report.added += moved_from is None
        elif before[0] is None:
            self._report.added += 1
        elif before[0] == photo:
            self._report.unchanged += 1
        else:
            self._report.updated += 1
        self._put(file, photo)

    def _moved_from(self, photo: int, file: ReadFile) -> int | None:
        """A file that held this photo and is not there any more: what was found is the same file, elsewhere. One whose
        library is away may lie there as before."""
        for key, folder, name, root in self._connection.execute(
            "SELECT files.key, folder, name, path FROM files JOIN libraries ON libraries.key = library_key"
            " WHERE photo_key = ? ORDER BY files.key",
            (photo,),
        ):
            if not self._is_there(root):
                self._renames.found(key, file.found.path, file.mtime_ns)
            elif key in self._gone or not storage_of(place := join(folder, name)).exists(place):
                return int(key)
        return None

    def _is_there(self, root: bytes) -> bool:
        if root not in self._there:
            self._there[root] = (
                storage_of(root).is_folder(root)
                and not self._connection.execute(
                    "SELECT 1 FROM libraries WHERE path = ? AND offline IS NOT NULL", (root,)
                ).fetchone()
            )
        return self._there[root]

    def _held_before(self, file: ReadFile) -> list[int]:
        row = self._connection.execute(
            "SELECT photo_key FROM files WHERE key = ? AND photo_key IS NOT NULL", (file.found.known,)
        ).fetchone()
        return [row[0]] if row else []

    def _put(self, file: ReadFile, photo: int | None) -> None:
        changes.put_file(
            self._connection,
            library_key=self._library_of(file.found.folder),
            folder=file.found.folder,
            name=file.found.name,
            size=file.size,
            mtime_ns=file.mtime_ns,
            photo_key=photo,
            failure=file.failure,
        )
