"""A catalog that SQLite cannot rely on any more: what can be read of it becomes a new one, and takes its place."""

from __future__ import annotations

import sqlite3
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

from indexer.progress import Progress
from indexer.restore import aside_in
from indexer.salvage.rescue import Rescued, rescue
from indexer.verify.findings import several
from search.catalog import job_progress, jobs
from search.catalog.backup import first_fault
from search.catalog.connection import Reader, connect_to_write
from search.catalog.damage import UNREADABLE
from search.catalog.files import beside, flush
from search.catalog.replacing import at_rest, put_in_place
from search.errors import DamagedError, SightlineError
from search.home import Home

KEPT_AS = "catalog-damaged"


@dataclass(frozen=True)
class Rebuilt:
    """What became of a damaged catalog, and where it is kept; without its log where that was another catalog's."""

    rescued: Rescued
    kept: Path | None
    with_log: bool = True

    def sentences(self) -> list[str]:
        """For people: what was saved, what was lost, and where the damaged catalog lies."""
        saved = [f"{name.replace('_', ' ')} {count}" for name, count in self.rescued.saved.items() if count]
        said = [f"Saved of the damaged catalog, in rows: {', '.join(saved)}."]
        lost = [f"{several(count, 'row')} of {name}" for name, count in sorted(self.rescued.lost.items())]
        lost += [
            f"what stood on a page of {name}" for name in sorted(self.rescued.unread) if name not in self.rescued.lost
        ]
        said.append(f"Lost: {', '.join(lost)}." if lost else "Nothing of it is known to be lost.")
        if not self.with_log:
            said.append("The log beside the catalog was that of another catalog, so nothing was taken from it.")
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
        # A log that is another's would be written into it for good if it were opened.
        with aside_in(home) as aside, at_rest(home) if with_log else nullcontext(False) as whole:
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
    """Whether the log beside a damaged catalog is its own: the catalog is not one that is whole without the log."""
    log = beside(home.catalog_path, "-wal")
    if not (log.is_file() and log.stat().st_size):
        return True
    try:
        with closing(Reader.open(home.catalog_path, immutable=True)) as alone:
            return not alone.execute("SELECT count(*) FROM photos").fetchone()[0] or first_fault(alone) is not None
    except UNREADABLE:
        return True
