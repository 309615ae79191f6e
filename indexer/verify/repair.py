"""Mending what was found, and looking again, until nothing is found that can be mended."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from indexer.progress import Progress
from indexer.shared_progress import SharedProgress
from indexer.verify import catalog
from indexer.verify.findings import Finding, Mending, View
from indexer.verify.look import look, without_catalog
from indexer.verify.rebuilding import KEPT_AS, rebuild
from indexer.verify.report import Verification
from search.catalog import jobs, soundness
from search.catalog.connection import connect_to_write, one_state
from search.catalog.files import settle
from search.catalog.replacing import keep_copy
from search.errors import DamagedError, SightlineError
from search.home import Home

_ROUNDS = 5  # one mending may bring to light what another has to mend


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
    try:
        with closing(connect_to_write(home)) as connection:
            soundness.prepare(connection)
            with _job(home, connection, progress, result) as shared:
                _mend_all(View(home, connection, shared, photos, doubtful=doubtful), result)
    except (OSError, sqlite3.Error) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise SightlineError(f"The repair ended early: {reason}. What was mended so far is kept.") from error
    return result


def _made_reliable(home: Home, progress: Progress) -> tuple[Verification, list[int]]:
    """Mend the database itself, or put a new one in its place; also the photos that are doubtful then."""
    connection, found = catalog.opened(home)
    notes = [_kept_log(home)] if any(finding.kind == "log" for finding in found) else []
    if connection is not None:
        with closing(connection), one_state(connection):
            found += catalog.look(View(home, connection, progress))
    result, doubtful = Verification(problems=found, notes=notes), list[int]()
    if any(finding.structural for finding in found):
        try:
            result.rebuilt = rebuild(home, progress)
        except DamagedError as error:
            found.append(Finding("catalog", str(error)))
            return result, doubtful
        doubtful = result.rebuilt.rescued.doubtful
        result.notes += result.rebuilt.sentences()
    else:
        # The number of its version, without which it cannot be opened as others are.
        with closing(sqlite3.connect(home.catalog_path)) as raw:
            for finding in found:
                if finding.mend is not None:
                    finding.mend(Mending(home, raw, progress, contextlib.nullcontext))
    for finding in found:
        finding.mended = True
    return result, doubtful


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
    every = {finding.what: finding for finding in found}
    # Reading all photos again would find the same, where nothing was mended by them.
    without_photos = not any(finding.kind == "photos" for finding in found)
    before: list[str] = []
    for _ in range(_ROUNDS):
        mendable = [finding for finding in found if finding.mend is not None]
        if not mendable or [finding.what for finding in mendable] == before:
            break
        before = [finding.what for finding in mendable]
        for finding in mendable:
            if finding.mend is not None:
                finding.mend(mending)
        found = look(View(view.home, view.connection, view.progress, view.read_photos, doubtful=view.doubtful),
                     without_photos=without_photos)  # fmt: skip
        for finding in found:
            every.setdefault(finding.what, finding)
    still = {finding.what for finding in found}
    for finding in every.values():
        finding.mended = finding.mend is not None and finding.what not in still
    result.problems += every.values()


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
