"""Mending what was found, and looking again, until nothing is found that can be mended."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from indexer.progress import Progress
from indexer.shared_progress import SharedProgress
from indexer.verify import catalog
from indexer.verify.findings import Finding, Mending, View
from indexer.verify.look import look, without_catalog
from indexer.verify.rebuilding import KEPT_AS, rebuild
from indexer.verify.report import Verification
from search.catalog import jobs, soundness
from search.catalog.connection import BUSY_MS, connect_to_write, one_state
from search.catalog.files import settle
from search.catalog.replacing import keep_copy
from search.errors import DamagedError, SightlineError
from search.home import Home

_ROUNDS = 5  # one mending may bring to light what another has to mend
_NOT_TO_BE_WRITTEN = (
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN,
)  # fmt: skip
_FULL_OR_BROKEN = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


def repair(home: Home, photos: bool, progress: Progress) -> Verification:
    """Mend what can be; the caller holds the writer's lock.

    Raises:
        MissingCatalogError, VersionError: there is nothing that could be mended.
        SightlineError: something could not be written.
    """
    try:
        settle(home)
    except OSError as error:
        raise SightlineError(f"{home.path} cannot be written: {error.strerror or error}.") from error
    if not home.catalog_path.is_file():
        return Verification(problems=without_catalog(home))
    result, doubtful = _made_reliable(home, progress)
    if any(not problem.mended for problem in result.problems):
        return result
    _mend_in_place(home, photos, progress, result, doubtful)
    structural = [problem for problem in result.problems if problem.structural and not problem.mended]
    if structural and result.rebuilt is None:  # which only shows on a connection that may write
        doubtful = _rebuilt(home, progress, result, structural)
        if all(problem.mended for problem in structural):
            _mend_in_place(home, photos, progress, result, doubtful)
    return result


def _mend_in_place(home: Home, photos: bool, progress: Progress, result: Verification, doubtful: list[int]) -> None:
    try:
        with closing(connect_to_write(home)) as connection:
            soundness.prepare(connection)
            with _job(home, connection, progress, result) as shared:
                _mend_all(View(home, connection, shared, photos, doubtful=doubtful), result)
    except (OSError, sqlite3.Error) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise SightlineError(f"The repair ended early: {reason}. What was mended so far is kept.") from error


def _made_reliable(home: Home, progress: Progress) -> tuple[Verification, list[int]]:
    """Mend the database itself, or put a new one in its place; also the photos that are doubtful then."""
    connection, found = catalog.opened(home)
    notes = [_kept_log(home)] if any(finding.kind == "log" for finding in found) else []
    if connection is not None:
        with closing(connection), one_state(connection):
            found += catalog.look(View(home, connection, progress))
    result = Verification(problems=found, notes=notes)
    if any(finding.structural for finding in found):
        return result, _rebuilt(home, progress, result, found)
    # The number of its version, without which it cannot be opened as others are; and triggers, which would be set off.
    with closing(sqlite3.connect(home.catalog_path, timeout=BUSY_MS / 1000)) as raw:
        mending = Mending(home, raw, progress, lambda: _transaction(raw))
        for finding in found:
            try:
                if finding.mend is not None:
                    finding.mend(mending)
            except sqlite3.Error as error:
                if _keeps_from_writing(error):
                    raise SightlineError(f"The catalog could not be mended: {error}.") from error
                finding.structural = True
                continue
            finding.mended = True
    unmended = [finding for finding in found if not finding.mended]
    return result, _rebuilt(home, progress, result, unmended) if unmended else []


def _rebuilt(home: Home, progress: Progress, result: Verification, found: Sequence[Finding]) -> list[int]:
    """Put a new catalog in the place of this one, which mends what was `found`; the photos that are doubtful then."""
    try:
        result.rebuilt = rebuild(home, progress)
    except DamagedError as error:
        result.problems.append(Finding("catalog", str(error)))
        return []
    result.notes += result.rebuilt.sentences()
    for finding in found:
        finding.mended = True
    return result.rebuilt.rescued.doubtful


def _kept_log(home: Home) -> str:
    """Keep what the next commit would write over."""
    try:
        kept = keep_copy(home, KEPT_AS)
    except OSError as error:
        raise SightlineError(f"The damaged log could not be kept: {error.strerror or error}.") from error
    return (
        f"Lost: what stood in the commits of the log that cannot be read. The catalog is kept with that log as {kept}."
    )


def _mend_all(view: View, result: Verification) -> None:
    mending = Mending(view.home, view.connection, view.progress, lambda: _transaction(view.connection))
    found = look(view)
    result.checked, result.notes = dict(view.checked), [*result.notes, *view.notes]
    every = {finding.topic: finding for finding in found}
    # Reading all photos again would find the same, where nothing was mended by them.
    without_photos = not any(finding.kind == "photos" for finding in found)
    before: list[str] = []
    failed: dict[tuple[str, str], str] = {}
    for _ in range(_ROUNDS):
        mendable = [finding for finding in found if finding.mend is not None]
        if not mendable or [finding.what for finding in mendable] == before:
            break
        before = [finding.what for finding in mendable]
        failed = {finding.topic: reason for finding in mendable if (reason := _mend(finding, mending))}
        found = look(View(view.home, view.connection, view.progress, view.read_photos, doubtful=view.doubtful),
                     without_photos=without_photos)  # fmt: skip
        # What was mended in part is what is left of it.
        every |= {finding.topic: finding for finding in found}
    still = {finding.topic for finding in found}
    for topic, finding in every.items():
        # A second look leaves out files that cannot be mended.
        finding.mended = finding.mend is not None and topic not in still
        if reason := failed.get(topic) if topic in still else None:
            mending.notes.append(f"It could not be mended ({reason}): {finding.what}")
    result.problems += every.values()
    result.notes += dict.fromkeys(mending.notes)


def _mend(finding: Finding, mending: Mending) -> str | None:
    """Mend it, or say why that failed; another of the mendings may be what it lacks.

    Raises:
        OSError, sqlite3.Error: nothing can be written.
    """
    try:
        if finding.mend is not None:
            finding.mend(mending)
    except SightlineError:
        raise
    except Exception as error:
        if _keeps_from_writing(error):
            raise
        return f"{type(error).__name__}: {error}"
    return None


def _keeps_from_writing(error: Exception) -> bool:
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in _NOT_TO_BE_WRITTEN
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _FULL_OR_BROKEN)


@contextmanager
def _job(
    home: Home, connection: sqlite3.Connection, progress: Progress, result: Verification
) -> Iterator[SharedProgress]:
    """Let others see that a repair is at work, and how it ended."""
    with _transaction(connection):
        job = jobs.start(connection, "repair")
    state, message = "failed", None
    shared = SharedProgress(progress, home, job)
    try:
        yield shared
        state = "done"
    except KeyboardInterrupt:
        state, message = "stopped", "It was stopped; what was mended so far is kept."
        raise
    except Exception as error:
        message = str(error)
        raise
    finally:
        counts = {"problems": len(result.problems), "mended": sum(problem.mended for problem in result.problems)}
        with contextlib.suppress(sqlite3.Error), _transaction(connection):
            jobs.update(connection, job, counts)
            jobs.end(connection, job, state, message)
        shared.close()


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
