"""The writer's lock: an operating-system lock that dies with its process."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from search import failpoints
from search.catalog import jobs
from search.catalog.connection import connect_to_read
from search.errors import CatalogError, LockedError
from search.home import Home


@contextmanager
def writer_lock(home: Home) -> Iterator[None]:
    """Hold the lock of `home` while the block runs.

    Raises:
        LockedError: another process holds it; the sentence says which.
        CatalogError: the home cannot be written.
    """
    from filelock import FileLock, Timeout

    try:
        home.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(home.lock_path, timeout=0)
        lock.acquire()
    except Timeout:
        raise LockedError(
            f"{_holder(home)} is already writing to {home.path}; wait for it to end (searches go on meanwhile)."
        ) from None
    except OSError as error:
        raise CatalogError(f"Cannot write to {home.path}: {error.strerror or error}.") from error
    try:
        failpoints.reach("lock taken")
        yield
    finally:
        lock.release()


def _holder(home: Home) -> str:
    try:
        connection = connect_to_read(home)
        try:
            job = jobs.running(home, connection)
        finally:
            connection.close()
    except (CatalogError, sqlite3.Error):
        job = None
    if job is None:
        return "Another process"
    return f"Process {job['pid']} on {job['host']} (`{jobs.command(job['kind'])}`, since {job['started_at']})"
