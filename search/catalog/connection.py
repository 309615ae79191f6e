"""Opening the catalog: one writer, any number of readers."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from search.catalog.damage import UNREADABLE, damaged, is_damage
from search.catalog.files import beside, is_unsettled, rolls_back, settle
from search.catalog.schema import VERSION, migrations
from search.errors import CatalogError, MissingCatalogError, VersionError
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
        return self._opened == self._state(home.catalog_path)

    def _state(self, path: Path) -> tuple[int, ...]:
        try:
            status = os.stat(path)
        except OSError:
            return ()
        file = (status.st_dev, status.st_ino)
        return (*file, status.st_size, status.st_mtime_ns) if self._immutable else file

    @property
    def file(self) -> tuple[int, ...]:
        """The device and the inode of the catalog that this connection reads."""
        return self._opened[:2]

    @property
    def is_immutable(self) -> bool:
        """Whether it was opened as a file that cannot change, without the log beside it."""
        return self._immutable

    @classmethod
    def open(cls, path: Path, *, immutable: bool) -> Reader:
        """Open a catalog and look into it. Raises `sqlite3.Error`."""
        address = f"file:{quote(str(path.absolute()))}?mode=ro{'&immutable=1' if immutable else ''}"
        reader = sqlite3.connect(address, uri=True, check_same_thread=False, timeout=BUSY_MS / 1000, factory=cls)
        try:
            reader._immutable = immutable
            reader._opened = reader._state(path)
            reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except BaseException:
            reader.close()
            raise
        return reader


def open_reader(path: Path) -> Reader:
    """Open a catalog for reading, whatever its version; works while a writer is at work, and on a read-only disk.
    Raises `sqlite3.Error`."""
    try:
        return Reader.open(path, immutable=False)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in _NO_SHARED_MEMORY or _has_commits_aside(path, error):
            raise
        # Who may not write there, or has no room left, cannot make the shared-memory file of WAL; without it SQLite
        # reads only what it is told will not change.
        return Reader.open(path, immutable=True)


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
        settle(home)
        check_place(home)
        _forget_another_catalog(home.catalog_path)
        connection = sqlite3.connect(home.catalog_path, check_same_thread=False, timeout=BUSY_MS / 1000)
        try:
            _prepare(home, connection)
        except BaseException:
            connection.close()
            raise
    except OSError as error:
        raise CatalogError(f"Cannot use {home.path} as Sightline's home: {error.strerror or error}.") from error
    except UNREADABLE as error:
        raise unusable(home, error) from error
    return connection


def _prepare(home: Home, connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    # FULL: a committed batch survives a power cut, not only a crash of the program.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    version = _version(connection)
    if version > VERSION:
        raise _too_new(home)
    if version < VERSION:
        migrate(connection)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a catalog to this version's schema; of an empty database it makes one."""
    from sqlite_utils import Database

    migrations().apply(Database(connection, recursive_triggers=False))


def _forget_another_catalog(path: Path) -> None:
    """Delete the log and the shared memory of a catalog whose place a restored one has taken, where that was cut off
    before it did so itself. One in which no log was ever begun has none of its own: it is in rollback mode."""
    with suppress(FileNotFoundError):
        if rolls_back(path):
            for suffix in ("-wal", "-shm"):
                beside(path, suffix).unlink(missing_ok=True)


def check_place(home: Home) -> None:
    """See that nothing else lies where the catalog should. Raises `CatalogError`."""
    place = home.catalog_path
    # In this order: a catalog that is made between the two questions is none at the first, and a file at the second.
    if not os.path.lexists(place) or place.is_file():
        return
    if place.is_symlink() and not place.exists():
        what = f"is a link to {os.readlink(place)}, where there is nothing. Plug in the disk that it leads to; or move"
    else:
        what = f"is {'a folder' if place.is_dir() else 'no plain file'}, and no catalog. Move"
    raise CatalogError(f"{place} {what} it away, then restore a backup or run `sightline index PATH`.")


@contextmanager
def editing(home: Home) -> Iterator[sqlite3.Connection]:
    """One short transaction, which waits for one of the writer's: what a person says of a photo should not wait for a
    run of hours. Makes and migrates nothing.

    Raises:
        CatalogError: there is no catalog, it is damaged, or it cannot be written by this version.
        sqlite3.Error: it could not be written.
    """
    while True:
        connect_to_read(home).close()
        if is_unsettled(home):
            raise damaged(home, "mending it was cut off")
        before = _identity(home)
        with closing(sqlite3.connect(home.catalog_path, timeout=BUSY_MS / 1000)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                # Another one may have taken its place meanwhile, in which nobody would ever see it.
                if _identity(home) == before:
                    yield connection
                    return


def _identity(home: Home) -> tuple[int, int] | None:
    with suppress(OSError):
        status = os.stat(home.catalog_path)
        return status.st_dev, status.st_ino
    return None


def connect_to_read(home: Home) -> Reader:
    """Open the catalog for reading only; works while a writer is at work, and on a read-only disk.

    Raises:
        MissingCatalogError: there is no catalog.
        VersionError: it is another version's.
        DamagedError: it is damaged.
        CatalogError: it cannot be read for another reason.
    """
    connection, version = connect_to_any(home)
    if version == VERSION:
        return connection
    connection.close()
    raise VersionError(
        f"The index in {home.path} was written by an older Sightline (or its first run was cut off); "
        "run `sightline index` once to bring it up to date."
    )


def connect_to_any(home: Home) -> tuple[Reader, int]:
    """As `connect_to_read`, a catalog of this version or an older one, and which it is."""
    check_place(home)
    if not home.catalog_path.is_file():
        raise MissingCatalogError(
            f"There is no index in {home.path} yet. Make one with `sightline index PATH`, "
            "or name another home with --home."
        )
    check_owner(home)
    try:
        connection = open_reader(home.catalog_path)
        version = _version(connection)
    except UNREADABLE as error:
        raise unusable(home, error) from error
    if version > VERSION:
        connection.close()
        raise _too_new(home)
    return connection, version


def _has_commits_aside(catalog: Path, error: sqlite3.Error) -> bool:
    """Whether there are commits that are not in the catalog's own file yet; on a disk that is read-only such a catalog
    can be read all the same."""
    aside = 0
    with suppress(OSError):
        aside = beside(catalog, "-wal").stat().st_size
    return aside > 0 and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_IOERR


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _too_new(home: Home) -> CatalogError:
    return VersionError(f"The index in {home.path} was written by a newer Sightline; upgrade to open it.")


def unusable(home: Home, error: Exception) -> CatalogError:
    """The error of a catalog that could not be opened."""
    if is_damage(error):
        return damaged(home, error)
    return CatalogError(f"The catalog {home.catalog_path} cannot be used: {error}.")
