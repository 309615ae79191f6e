"""A catalog that SQLite cannot rely on any more: what can be read of it becomes a new one, and takes its place."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from indexer.progress import Progress
from indexer.restore import aside_in
from indexer.salvage.rescue import Rescued, rescue
from indexer.verify.catalog import broken_pages
from indexer.verify.findings import several
from search.catalog import job_progress, jobs
from search.catalog.backup import first_fault
from search.catalog.connection import Reader, connect_to_write, open_reader
from search.catalog.damage import UNREADABLE, is_damage
from search.catalog.files import beside, flush
from search.catalog.replacing import at_rest, put_in_place
from search.errors import DamagedError, SightlineError
from search.home import Home

KEPT_AS = "catalog-damaged"


@dataclass(frozen=True)
class Rebuilt:
    """What became of a damaged catalog, and where it is kept; `with_log` is false where its log was another's."""

    rescued: Rescued
    kept: Path | None
    with_log: bool = True

    def sentences(self) -> list[str]:
        """For people: what was saved, what was lost, and where the damaged catalog lies."""
        saved = [f"{name.replace('_', ' ')} {count}" for name, count in self.rescued.saved.items() if count]
        said = [f"Saved of the damaged catalog, in rows: {', '.join(saved)}."]
        if not self.with_log:
            said.append(
                "The log beside the catalog is taken for another catalog's: without it the catalog is whole, and with "
                f"it it is not. So the commits in it were left behind; they are kept in {self.kept}-wal."
            )
        lost = [f"{several(count, 'row')} of {name}" for name, count in sorted(self.rescued.lost.items())]
        lost += [
            f"what stood on a page of {name}" for name in sorted(self.rescued.unread) if name not in self.rescued.lost
        ]
        nothing = "Nothing of it is known to be lost." if self.with_log else "Nothing else is known to be lost."
        said.append(f"Lost: {', '.join(lost)}." if lost else nothing)
        if self.kept is not None:
            said.append(f"The damaged catalog is kept as {self.kept}.")
        return said


def rebuild(home: Home, progress: Progress) -> Rebuilt:
    """Put a new catalog in the place of a damaged one; the caller holds the writer's lock.

    Raises:
        DamagedError: nothing of it can be read.
        SightlineError: the new one cannot be written; the damaged one is where it was.
    """
    try:
        # What is said of a photo meanwhile waits, and is said of the new catalog.
        with_log = _has_own_log(home)
        with aside_in(home) as aside, at_rest(home, with_log=with_log) as whole:
            rescued = rescue(home.catalog_path, aside, progress, with_log=with_log)
            if rescued is None:
                raise DamagedError(
                    f"Nothing can be read of {home.catalog_path}. Restore a backup with `sightline restore --replace`; "
                    "or move the file away and run `sightline index PATH` to begin afresh."
                )
            with closing(sqlite3.connect(aside)) as new:
                if fault := first_fault(new):
                    raise SightlineError(f"A new catalog could not be made: {fault}. The damaged one is as it was.")
                with new:
                    jobs.end_all(new)
            flush(aside)
            kept = put_in_place(home, aside, KEPT_AS, whole)
        connect_to_write(home).close()
        job_progress.remove(home)
    except (OSError, sqlite3.Error) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise SightlineError(f"A new catalog could not be made: {reason}. The damaged one is as it was.") from error
    return Rebuilt(rescued, kept, with_log)


def _has_own_log(home: Home) -> bool:
    """Whether the log beside a damaged catalog is its own. It is taken for another's only where SQLite finds the pages
    of the catalog whole without it, and broken with it; what the schema declares tells nothing of that."""
    log = beside(home.catalog_path, "-wal")
    if not (log.is_file() and log.stat().st_size):
        return True
    try:
        with closing(Reader.open(home.catalog_path, immutable=True)) as alone:
            if not alone.execute("SELECT count(*) FROM photos").fetchone()[0] or broken_pages(alone):
                return True
    except UNREADABLE:
        return True
    try:
        with closing(open_reader(home.catalog_path)) as both:
            return not broken_pages(both)
    except UNREADABLE as error:
        return not is_damage(error)
