"""Backups: a copy of the catalog in one file, which holds all that cannot be made again.

A copy is of one commit, however many follow while it is made. Whoever looks for it sees a whole one under its name, or
what was there before.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.catalog import settings
from search.catalog.connection import Reader, connect_to_any, one_state
from search.catalog.damage import damaged, is_damage
from search.catalog.files import MOVING, beside, flush
from search.catalog.schema import VERSION
from search.errors import CatalogError, MissingCatalogError, VersionError
from search.home import Home

_TABLES = frozenset({"libraries", "photos", "files", "captions", "models", "embeddings", "settings"})
"""What every version of the catalog has."""
_OWN = frozenset(
    {"catalog.db", "catalog.db-wal", "catalog.db-shm", "catalog.db-journal", "writer.lock", "progress.json"}
    | {"progress.new", "machine.json", "vectors", "thumbnails"}
)
"""What a home works with."""
_KEPT = ("catalog-damaged-", "catalog-before-restore-")
"""How the names of catalogs begin that were replaced, which are kept there."""
_PAGES = 2048  # copied at a time: what is told between takes no time beside that

Advance = Callable[[int, int], None]
"""Hears how many bytes are done, and of how many."""


@dataclass(frozen=True)
class Backup:
    """A backup that was made.

    Attributes:
        photos: how many the catalog holds, orphans left out.
        revision: the state of the catalog that it is of.
        elsewhere: files and folders outside the home that the index uses, and that the backup does not hold: the file
            of one's own concepts, the folder of a model.
    """

    path: Path
    bytes: int
    photos: int
    revision: int
    elsewhere: tuple[str, ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The contract of `sightline backup --json`."""
        return {
            "path": str(self.path),
            "bytes": self.bytes,
            "photos": self.photos,
            "revision": self.revision,
            "elsewhere": list(self.elsewhere),
            "seconds": round(self.seconds, 3),
        }


def back_up(home: Home, file: Path, advance: Advance = lambda done, total: None) -> Backup:
    """Write a backup of the home's catalog to `file`, which it replaces if that is an older backup. Only reads the
    home: it may be read-only, and a run may be at work on it.

    Raises:
        MissingCatalogError, VersionError: there is nothing to back up, or a newer Sightline wrote it.
        DamagedError: the catalog is damaged; what was at `file` is as it was.
        CatalogError: `file` is something else than a backup, or cannot be written.
    """
    began = time.perf_counter()
    target = Path(os.path.realpath(file))
    reader, version = connect_to_any(home)  # of an older version too: before an update is when one wants a backup
    with closing(reader):
        if not version:
            raise MissingCatalogError(f"There is no index in {home.path} yet: its first run was cut off.")
        _check_target(home, target)
        with _aside(target) as aside:
            try:
                photos, revision, elsewhere = _copied(home, reader, aside, advance)
            except (sqlite3.Error, UnicodeDecodeError) as error:
                if is_damage(error):
                    raise damaged(home, f"{error}; no backup was made of it") from error
                raise _unwritten(target, error) from error
            shutil.copymode(home.catalog_path, aside)
            flush(aside)
            os.replace(aside, target)
            flush(target.parent)
    return Backup(target, target.stat().st_size, photos, revision, elsewhere, time.perf_counter() - began)


def copy_catalog(source: sqlite3.Connection, target: Path, advance: Advance = lambda done, total: None) -> None:
    """Copy the state that `source` reads into the file `target`, in rollback mode. Raises `sqlite3.Error`."""
    with closing(sqlite3.connect(target)) as copy, one_state(source):
        # A state is taken with the first reading; without one the copy would begin anew with each commit.
        size = source.execute("PRAGMA page_size").fetchone()[0]
        source.execute("SELECT count(*) FROM sqlite_master").fetchone()
        source.backup(
            copy, pages=_PAGES, progress=lambda _, left, total: advance((total - left) * size, total * size), sleep=0
        )
        copy.execute("PRAGMA journal_mode = DELETE")


def opened_backup(file: Path) -> Reader:
    """Open a backup, or the catalog of another home that is at rest, of this version or an older one.

    Raises:
        VersionError: a newer Sightline wrote it.
        CatalogError: there is none, or it is something else.
    """
    if not file.is_file():
        raise CatalogError(f"There is no file {file}.")
    reader = None
    try:
        log = beside(file, "-wal")
        # What nobody writes to is opened without leaving files beside it; a log that is there belongs to it.
        reader = Reader.open(file, immutable=not (log.is_file() and log.stat().st_size))
        version = reader.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION and _is_catalog(reader):
            raise VersionError(f"{file} was written by a newer Sightline; upgrade to restore it.")
        if not version or not _is_catalog(reader):
            raise CatalogError(f"{file} is no backup that Sightline made.")
    except (sqlite3.Error, UnicodeDecodeError) as error:
        if reader is not None:
            reader.close()
        raise CatalogError(f"{file} cannot be read as a backup: {error}.") from error
    except CatalogError:
        if reader is not None:
            reader.close()
        raise
    return reader


def first_fault(connection: sqlite3.Connection, check: str = "integrity_check") -> str | None:
    """What SQLite's own `check` finds wrong first, or None."""
    found = connection.execute(f"PRAGMA {check}(1)").fetchone()[0]
    return None if found == "ok" else " ".join(str(found).replace("*** in database main ***", "").split())


def _copied(home: Home, reader: Reader, aside: Path, advance: Advance) -> tuple[int, int, tuple[str, ...]]:
    log = beside(home.catalog_path, "-wal")
    if reader.is_immutable and log.is_file() and log.stat().st_size:
        # On a read-only disk SQLite cannot read the log that a killed run has left; in the copy it can.
        shutil.copyfile(home.catalog_path, aside)
        shutil.copyfile(log, beside(aside, "-wal"))
        with closing(sqlite3.connect(aside)) as copy:
            copy.execute("PRAGMA journal_mode = DELETE")
    else:
        copy_catalog(reader, aside, advance)
    with closing(sqlite3.connect(aside)) as copy:
        if fault := first_fault(copy, "quick_check"):
            raise damaged(home, f"{fault}; no backup was made of it")
        photos = copy.execute("SELECT count(*) FROM photos WHERE orphaned_at IS NULL").fetchone()[0]
        return photos, settings.revision(copy), _elsewhere(copy)


def _elsewhere(connection: sqlite3.Connection) -> tuple[str, ...]:
    found = [settings.get(connection, "concepts") or ""]
    for name in (settings.get(connection, "model"), settings.get(connection, "captions")):
        scheme, _, folder = (name or "").partition(":")
        found.append(folder if scheme == "local-dir" else "")
    return tuple(dict.fromkeys(filter(None, found)))


def _check_target(home: Home, target: Path) -> None:
    if target.is_dir():
        raise CatalogError(f"{target} is a folder; name the file that the backup is to be.")
    if not target.parent.is_dir():
        raise CatalogError(f"There is no folder {target.parent}; make it first.")
    if target == Path(os.path.realpath(home.catalog_path)):
        raise CatalogError(f"{target} is the catalog itself; name another file for its backup.")
    if _is_of_a_home(home, target):
        raise CatalogError(
            f"{target} is where an index keeps what it works with; name a file elsewhere for its backup, or "
            "another name."
        )
    if not target.exists() or (target.is_file() and not target.stat().st_size):
        return
    try:
        opened_backup(target).close()
    except VersionError:
        return  # a backup all the same
    except CatalogError as error:
        raise CatalogError(
            f"{target} is there already and is no backup of Sightline's, so it was not touched; name another file."
        ) from error


def _is_of_a_home(home: Home, target: Path) -> bool:
    """Whether a home keeps, or may make, something of its own at `target`, which is resolved: what takes its place
    would be taken for that, or be deleted."""
    if _has_own_name(home, target):
        return True
    # A log beside it is written into whatever lies there, so that nothing can be put in its place from outside.
    own = {beside(home.catalog_path, suffix) for suffix in ("-wal", "-shm", "-journal")}
    logs = [beside(target, suffix) for suffix in ("-wal", "-journal")]
    is_catalog = target.name == "catalog.db" and (target.parent / home.lock_path.name).exists()
    return target in own or is_catalog or any(log.is_file() and log.stat().st_size for log in logs)


def _has_own_name(home: Home, target: Path) -> bool:
    """Whether `target` lies in this home under a name that the home uses itself. Of the catalogs that are kept there,
    one that is a backup may be replaced."""
    folders = {Path(os.path.realpath(folder)) for folder in (home.vectors_dir, home.thumbnails_dir)}
    if folders & {target, *target.parents}:
        return True
    inside = Path(os.path.realpath(home.path))
    if inside not in target.parents:
        return False
    first, *further = (part.casefold() for part in target.relative_to(inside).parts)  # some disks know no case
    if first.startswith(_KEPT) and not further:
        return not (target.is_file() and target.stat().st_size)
    return first in _OWN or first.startswith(".") or first.endswith(MOVING)


@contextlib.contextmanager
def _aside(target: Path) -> Iterator[Path]:
    """A new file beside `target`, gone afterwards unless it was renamed."""
    try:
        number, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", suffix=".writing", dir=target.parent)
    except OSError as error:
        raise _unwritten(target, error) from error
    os.close(number)
    try:
        yield Path(name)
    except OSError as error:
        raise _unwritten(target, error) from error
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            with contextlib.suppress(OSError):
                beside(Path(name), suffix).unlink(missing_ok=True)


def _unwritten(target: Path, error: Exception) -> CatalogError:
    full = isinstance(error, OSError) and error.errno == errno.ENOSPC
    if full or getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return CatalogError(
            f"There is not enough room in {target.parent} for a backup; an older one there is as it was."
        )
    reason = error.strerror if isinstance(error, OSError) else None
    return CatalogError(f"The backup {target} could not be written: {reason or error}.")


def _is_catalog(connection: sqlite3.Connection) -> bool:
    return {row[0] for row in connection.execute("SELECT name FROM sqlite_master")} >= _TABLES
