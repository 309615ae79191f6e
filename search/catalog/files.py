"""The files that make up a catalog on the disk: its own, SQLite's logs beside it, and what replacing it leaves for a
moment."""

from __future__ import annotations

import filecmp
import os
import shutil
import threading
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

from search.home import Home

ASIDE = ".restoring-"
"""How the file begins in which another catalog is made ready."""
LOGS = ("-wal", "-journal")
MOVING = ".moving"
"""How the name of a log ends that was taken from a catalog which is being replaced."""
_MOST_OPEN = 16  # as a rule it is one
_open: OrderedDict[tuple[int, int], int] = OrderedDict()
_opening = threading.Lock()


def place_of(home: Home) -> Path:
    """Where the catalog of a home lies in truth, which may be behind a link."""
    return _resolved(home.catalog_path)


def beside(catalog: Path, suffix: str) -> Path:
    """SQLite's own file beside a catalog: `-wal`, `-shm` or `-journal`. Behind a link it lies where the link leads."""
    real = _resolved(catalog)
    return real.with_name(real.name + suffix)


def aside_of(home: Home) -> Path:
    """The file in which another catalog is made ready: on the same disk as the one whose place it takes."""
    place = place_of(home)
    return place.with_name(ASIDE + place.name)


def keep(file: Path, name: Path) -> None:
    """Let `file` have another name too; where the disk knows no such thing, a copy. Raises `OSError`."""
    try:
        os.link(file, name)
    except OSError:
        shutil.copy2(file, name)
        flush(name)


def take_logs(home: Home, kept: Path) -> None:
    """Take the logs from the catalog, for the one that was made ready to take its place, which would be damaged by
    them; they are to be kept beside `kept`. Until `settle` it is not said that they are that one's for good. Raises
    `OSError`."""
    for suffix in LOGS:
        log = beside(home.catalog_path, suffix)
        if log.exists():
            keep(log, home.path / f"{kept.name}{suffix}{MOVING}")
            flush(home.path)
            log.unlink()


def is_unsettled(home: Home) -> bool:
    """Whether the catalog may lack a log of its own, since what was to take its place did not come to that."""
    return bool(_taken(home)) and aside_of(home).exists()


def settle(home: Home) -> None:
    """Give logs that were taken to the catalog that they belong to: where no other has taken its place, since that was
    cut off, it is the one that is there. The caller holds the writer's lock. Raises `OSError`."""
    taken = _taken(home)
    if not taken:
        return
    is_replaced = not aside_of(home).exists()
    for moving in taken:
        kept = moving.with_name(moving.name.removesuffix(MOVING))
        ending = next(ending for ending in LOGS if kept.name.endswith(ending))
        log = beside(home.catalog_path, ending)
        other_name = kept.with_name(kept.name.removesuffix(ending))
        if not is_replaced and not (log.exists() and log.stat().st_size):
            log.unlink(missing_ok=True)
            keep(moving, log)
            flush(log.parent)
            moving.unlink()
        elif not is_replaced and filecmp.cmp(moving, log, shallow=False):
            moving.unlink()
        else:
            os.replace(moving, kept)
        with suppress(OSError):
            if not is_replaced and os.path.samefile(other_name, home.catalog_path):
                other_name.unlink()
    flush(home.path)


def rolls_back(catalog: Path) -> bool:
    """Whether it is in rollback mode, in which no log was begun. Raises `OSError`.

    The file stays open: a process that closes a file loses all its locks on it, also those of SQLite's connections,
    and then others delete a log that is still read here.
    """
    if os.name == "nt":  # where that is not so, and an open file cannot be replaced
        with open(catalog, "rb") as stream:
            return stream.read(20)[18:] == b"\x01\x01"
    status = os.stat(catalog)
    with _opening:
        file = (status.st_dev, status.st_ino)
        if file not in _open:
            _open[file] = os.open(catalog, os.O_RDONLY | os.O_CLOEXEC)
        _open.move_to_end(file)
        while len(_open) > _MOST_OPEN:
            os.close(_open.popitem(last=False)[1])
        os.lseek(_open[file], 18, os.SEEK_SET)
        return os.read(_open[file], 2) == b"\x01\x01"


def flush(path: Path) -> None:
    """Bring a file or a folder to the disk. Raises `OSError`."""
    if path.is_dir() and os.name == "nt":
        return  # Windows has no way to flush a folder, and needs none
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _taken(home: Home) -> list[Path]:
    with suppress(OSError):
        return [home.path / name for name in sorted(os.listdir(home.path)) if name.endswith(MOVING)]
    return []


def _resolved(path: Path) -> Path:
    return Path(os.path.realpath(path))
