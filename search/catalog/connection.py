"""Opening the catalog: one writer, any number of readers."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

from search.catalog.schema import VERSION, migrations
from search.errors import CatalogError
from search.home import Home
from search.machine import check_owner

BUSY_MS = 30_000
_NO_SHARED_MEMORY = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR)


class Reader(sqlite3.Connection):
    """A connection that only reads, and knows when it reads what is no longer there."""

    _immutable = False
    _opened: tuple[int, ...] = ()

    def is_current(self, home: Home) -> bool:
        """Whether the catalog of `home` is still what this connection reads: no other file has taken its place, and
        if it was opened as one that cannot change, it has not."""
        return self._opened == self._state(home)

    def _state(self, home: Home) -> tuple[int, ...]:
        try:
            status = os.stat(home.catalog_path)
        except OSError:
            return ()
        file = (status.st_dev, status.st_ino)
        return (*file, status.st_size, status.st_mtime_ns) if self._immutable else file

    @property
    def file(self) -> tuple[int, ...]:
        """The device and the inode of the catalog that this connection reads."""
        return self._opened[:2]

    @classmethod
    def open(cls, home: Home, *, immutable: bool) -> Reader:
        """Open the catalog and look into it. Raises `sqlite3.Error`."""
        address = f"file:{quote(str(home.catalog_path.absolute()))}?mode=ro{'&immutable=1' if immutable else ''}"
        reader = sqlite3.connect(address, uri=True, check_same_thread=False, timeout=BUSY_MS / 1000, factory=cls)
        reader._immutable = immutable
        reader._opened = reader._state(home)
        reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return reader


@contextmanager
def one_state(connection: sqlite3.Connection) -> Iterator[None]:
    """All that is read inside is of the same commit. May be nested."""
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.rollback()


def connect_to_write(home: Home) -> sqlite3.Connection:
    """Open the catalog for its one writer, making or migrating it where needed. The caller holds the writer's lock.

    Raises:
        CatalogError: the folder cannot be written, or the file is no catalog of this version or an older one.
    """
    try:
        home.path.mkdir(parents=True, exist_ok=True)
        check_owner(home, claim=True)
        connection = sqlite3.connect(home.catalog_path, check_same_thread=False, timeout=BUSY_MS / 1000)
        connection.execute("PRAGMA journal_mode = WAL")
        # FULL: a committed batch survives a power cut, not only a crash of the program.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        version = _version(connection)
        if version > VERSION:
            raise _too_new(home)
        if version < VERSION:
            from sqlite_utils import Database

            migrations().apply(Database(connection, recursive_triggers=False))
    except OSError as error:
        raise CatalogError(f"Cannot use {home.path} as Sightline's home: {error.strerror or error}.") from error
    except sqlite3.DatabaseError as error:
        raise _unusable(home, error) from error
    return connection


def connect_to_edit(home: Home) -> sqlite3.Connection:
    """Open the catalog for one short transaction, which waits for one of the writer's: what a person says of a photo
    should not wait for a run of hours. Makes and migrates nothing.

    Raises:
        CatalogError: there is no catalog, or it cannot be written by this version.
    """
    connect_to_read(home).close()
    try:
        connection = sqlite3.connect(home.catalog_path, timeout=BUSY_MS / 1000)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except sqlite3.DatabaseError as error:
        raise CatalogError(f"The catalog {home.catalog_path} cannot be written: {error}.") from error
    return connection


def connect_to_read(home: Home) -> Reader:
    """Open the catalog for reading only; works while a writer is at work, and on a read-only disk.

    Raises:
        CatalogError: there is no catalog, or it cannot be read by this version.
    """
    if not home.catalog_path.is_file():
        raise CatalogError(
            f"There is no index in {home.path} yet. Make one with `sightline index PATH`, "
            "or name another home with --home."
        )
    check_owner(home)
    try:
        try:
            connection = Reader.open(home, immutable=False)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _NO_SHARED_MEMORY or _has_commits_aside(home, error):
                raise
            # Who may not write there, or has no room left, cannot make the shared-memory file of WAL; without it SQLite
            # reads only what it is told will not change.
            connection = Reader.open(home, immutable=True)
        version = _version(connection)
    except sqlite3.DatabaseError as error:
        raise _unusable(home, error) from error
    if version > VERSION:
        raise _too_new(home)
    if version < VERSION:
        raise CatalogError(
            f"The index in {home.path} was written by an older Sightline (or its first run was cut off); "
            "run `sightline index` once to bring it up to date."
        )
    return connection


def _has_commits_aside(home: Home, error: sqlite3.Error) -> bool:
    """Whether there are commits that are not in the catalog's own file yet; on a disk that is read-only such a catalog
    can be read all the same."""
    try:
        aside = os.path.getsize(f"{home.catalog_path}-wal")
    except OSError:
        aside = 0
    return aside > 0 and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_IOERR


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _too_new(home: Home) -> CatalogError:
    return CatalogError(f"The index in {home.path} was written by a newer Sightline; upgrade to open it.")


def _unusable(home: Home, error: sqlite3.Error) -> CatalogError:
    return CatalogError(f"The catalog {home.catalog_path} cannot be used: {error}.")
