"""Putting another catalog in the place of a home's own, in one step, while others read it.

SQLite finds a database's log (`-wal`) by its name, whichever database lies there: a log that is left beside another
catalog would be written into it. So all that the old catalog's log holds is brought into it first, and the log is
emptied; what takes its place comes in rollback mode, in which SQLite heeds neither an empty log nor the old shared
memory. Cut off at any point, there is the old catalog, whole, or the new one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from search.catalog.connection import BUSY_MS, Reader
from search.catalog.damage import UNREADABLE, is_damage
from search.catalog.files import LOGS, beside, flush, keep, place_of, settle, take_logs
from search.errors import CatalogError
from search.home import Home

_TRIES = 3  # each of which waits until nobody reads an earlier state, for `BUSY_MS` at most


def replace_catalog(home: Home, new: Path, kept_as: str) -> Path | None:
    """Put `new`, which lies in the home, is in rollback mode and is flushed, in the place of the home's catalog; the
    caller holds the writer's lock.

    Returns:
        where the catalog that was there lies now, under a name that begins with `kept_as`; None where there was none.

    Raises:
        CatalogError: somebody reads the old one without end.
        OSError: it could not be done; the old one is where it was.
    """
    with at_rest(home) as whole:
        return put_in_place(home, new, kept_as, whole)


@contextlib.contextmanager
def at_rest(home: Home, *, with_log: bool = True) -> Iterator[bool]:
    """Let nobody write to the catalog meanwhile, with all of it in the one file; gives False where it cannot be
    opened, or is not there. Without its log, which is another catalog's, the catalog is left as it is: False, too.
    Raises what `replace_catalog` does."""
    place = place_of(home)
    if not place.exists():
        yield False
        return
    with contextlib.ExitStack() as opened:
        try:
            if not with_log:
                # Who closes a catalog last writes its log into it, but for one who only reads.
                opened.enter_context(contextlib.closing(Reader.open(place, immutable=False)))
            connection = sqlite3.connect(place, timeout=BUSY_MS / 1000, isolation_level=None)
            opened.enter_context(contextlib.closing(connection))
            if with_log:
                _empty_log(connection, place)
            else:
                connection.execute("BEGIN IMMEDIATE")
        except UNREADABLE as error:
            if not is_damage(error):
                raise
            with_log = False
        yield with_log


def put_in_place(home: Home, new: Path, kept_as: str, whole: bool) -> Path | None:
    """What `replace_catalog` does, inside `at_rest`, which gave `whole`."""
    place = place_of(home)
    kept = free_name(home, kept_as) if place.exists() else None
    if not whole:
        # It cannot be opened, so its log is kept as it is; beside the new one it would be taken for its own.
        take_logs(home, kept or free_name(home, kept_as))
    if kept is not None:
        keep(place, kept)
        flush(home.path)
    os.replace(new, place)
    flush(place.parent)
    settle(home)
    for suffix in ("-wal", "-shm"):
        beside(place, suffix).unlink(missing_ok=True)
    return kept


def keep_copy(home: Home, kept_as: str) -> Path:
    """Keep the catalog with its logs as they are now, under the name that is returned. Raises `OSError`."""
    kept = free_name(home, kept_as)
    for suffix in ("", *LOGS):
        file = beside(home.catalog_path, suffix)
        if file.exists():
            shutil.copy2(file, home.path / f"{kept.name}{suffix}")
            flush(home.path / f"{kept.name}{suffix}")
    flush(home.path)
    return kept


def _empty_log(connection: sqlite3.Connection, place: Path) -> None:
    """Bring all that the log holds into the catalog, and let nobody write from then on."""
    log = beside(place, "-wal")
    for _ in range(_TRIES):
        busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        connection.execute("BEGIN IMMEDIATE")
        if not busy and not (log.exists() and log.stat().st_size):
            return
        connection.execute("ROLLBACK")  # somebody still reads what was before, or wrote in between
    raise CatalogError(
        f"Another process keeps {place} busy, perhaps `sightline verify` or `sightline backup`; try again when it has "
        "ended."
    )


def free_name(home: Home, kept_as: str) -> Path:
    """Under which name a catalog is kept in the home, beginning with `kept_as`; nothing lies there."""
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S")
    names = (f"{kept_as}-{moment}{f'-{number}' if number else ''}.db" for number in range(10_000))
    return next(path for name in names if not (path := home.path / name).exists() and not beside(path, "-wal").exists())
