"""Restoring a backup: it is looked over, brought up to date and put in the place of the home's catalog, while servers
go on answering from the one before."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexer.lock import writer_lock
from indexer.progress import Progress, Silent
from search.catalog import declared, job_progress, jobs, settings
from search.catalog.backup import copy_catalog, first_fault, opened_backup
from search.catalog.connection import check_place, connect_to_any, connect_to_write, migrate
from search.catalog.damage import UNREADABLE
from search.catalog.files import ASIDE, aside_of, flush, place_of, settle
from search.catalog.replacing import replace_catalog
from search.errors import CatalogError
from search.home import Home
from search.vectors import generations

KEPT_AS = "catalog-before-restore"


@dataclass(frozen=True)
class Restored:
    """What was restored.

    Attributes:
        kept: where the catalog lies that was there before; None where there was none.
        dropped: the views, triggers and indexes that the backup had besides what Sightline makes, each as its kind and
            its name.
        generations: how many published generations of `vectors/` belong to the restored catalog; without one, searches
            need a moment longer to begin, until the next `sightline index` publishes.
    """

    home: Path
    file: Path
    photos: int
    kept: Path | None
    dropped: tuple[str, ...]
    generations: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The contract of `sightline restore --json`."""
        return {
            "home": str(self.home),
            "file": str(self.file),
            "photos": self.photos,
            "kept": None if self.kept is None else str(self.kept),
            "dropped": list(self.dropped),
            "generations": self.generations,
            "seconds": round(self.seconds, 3),
        }


def restore(home: Home, file: Path, *, replace: bool = False, progress: Progress | None = None) -> Restored:
    """Make the backup `file` the catalog of `home`; one that is there is kept beside it, and only replaced where
    `replace` says so. Cut off at any point, there is the old one or the new.

    Raises:
        LockedError: a run is at work on this home.
        VersionError: a newer Sightline wrote the backup.
        CatalogError: it is none or is damaged, the home holds a catalog already, or it cannot be written.
    """
    began = time.perf_counter()
    progress = progress or Silent()
    opened_backup(file).close()  # before a home is made for it
    with writer_lock(home):
        check_place(home)
        if home.catalog_path.exists() and not replace:
            raise CatalogError(
                f"{home.path} holds an index already. `sightline restore --replace` puts the backup in its place, and "
                "keeps the present catalog beside it."
            )
        with _failing(home), aside_in(home) as aside:
            photos, dropped = _prepare(home, file, aside, progress)
            kept = replace_catalog(home, aside, KEPT_AS)
        job_progress.remove(home)
        left = _own_generations(home)
    return Restored(home.path, file, photos, kept, dropped, left, time.perf_counter() - began)


def _prepare(home: Home, file: Path, aside: Path, progress: Progress) -> tuple[int, tuple[str, ...]]:
    """Copy the backup, whole and of this version; returns how many photos it holds, and what was dropped."""
    progress.stage("copy", None)
    with closing(opened_backup(file)) as backup:
        copy_catalog(backup, aside, lambda done, total: progress.advance(done // 10**6, 0))
    progress.stage("check", None)
    with closing(sqlite3.connect(aside)) as connection:
        # Nothing in a file from elsewhere may do more than to be read.
        connection.execute("PRAGMA trusted_schema = OFF")
        dropped: list[declared.Named] = []
        try:
            fault = first_fault(connection)
            if fault is None:
                # A migration would set off triggers, and stumble over views.
                dropped += declared.drop_made_by_nobody(connection)
                migrate(connection)
                declared.put_triggers(connection)
                wrong, foreign = declared.strange(connection)
                declared.drop(connection, foreign)
                dropped += foreign
                if wrong:
                    fault = f"{', '.join(wrong)} not as Sightline makes it"
        except UNREADABLE as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
                raise  # the disk's fault, not the backup's
            fault = str(error)
        if fault is not None:
            raise CatalogError(
                f"{file} is damaged ({fault}), so it was not restored. Try an older backup; or copy it as catalog.db "
                "into an empty folder, and `sightline verify --repair --home` that folder saves what can be read."
            )
        with connection:
            # Whoever was at work when the backup was made is not at work on this.
            jobs.end_all(connection)
            # Listeners tell states apart by this number, which must not come back.
            settings.put(connection, "revision", str(1 + max(settings.revision(connection), _revision(home))))
        (photos,) = connection.execute("SELECT count(*) FROM photos WHERE orphaned_at IS NULL").fetchone()
    flush(aside)
    return int(photos), tuple(f"{kind} {name}" for kind, name in dropped)


def _revision(home: Home) -> int:
    """That of the catalog that is replaced; 0 where none can be read."""
    try:
        with closing(connect_to_any(home)[0]) as connection:
            return settings.revision(connection)
    except (CatalogError, sqlite3.Error, ValueError):
        return 0


def _own_generations(home: Home) -> int:
    """Forget generations whose files are not there, or are those that another history has published under the same
    number, and delete files that are nobody's now; returns how many are left. Where that fails, on a full disk, say,
    searches look at the checksums all the same."""
    left = 0
    with contextlib.suppress(CatalogError, sqlite3.Error, OSError), closing(connect_to_write(home)) as connection:
        for (model,) in connection.execute("SELECT key FROM models").fetchall():
            for generation in generations.of_model(connection, model):
                if generations.is_whole(home, generation):
                    left += 1
                else:
                    generations.drop(home, connection, generation)
        generations.sweep(home, connection)
    return left


@contextlib.contextmanager
def aside_in(home: Home) -> Iterator[Path]:
    """A new file on the disk of the home's catalog, gone afterwards unless it was renamed; with it go those of restores
    that were killed."""
    sweep(home)
    try:
        yield aside_of(home)
    finally:
        sweep(home)


def leftovers(home: Home) -> list[Path]:
    """What restores that were killed have left in the home."""
    found = set[Path]()
    for folder, begin in ((home.path, ASIDE), (place_of(home).parent, aside_of(home).name)):
        with contextlib.suppress(OSError):
            found |= {path for path in folder.iterdir() if path.name.startswith(begin)}
    return sorted(found)


def sweep(home: Home) -> None:
    """Delete these; the caller holds the writer's lock. What such a restore has taken from the catalog is given back
    first, since they tell that it was cut off."""
    settle(home)
    for path in leftovers(home):
        with contextlib.suppress(OSError):
            path.unlink()


@contextlib.contextmanager
def _failing(home: Home) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise CatalogError(f"The backup could not be restored into {home.path}: {reason}. Nothing was lost.") from error
