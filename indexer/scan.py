"""Scanning: which files of a library are new or changed, and which are gone, without opening any.

A file whose path, size and modification time are those of the catalog is unchanged. Names are bytes all the way, so
that any name survives; links are followed, each real folder being visited once; only regular files count.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from indexer.suffixes import SUFFIXES
from search.catalog.paths import is_within, join

SKIPPED_FOLDERS = frozenset({b"@eadir", b"#recycle", b"$recycle.bin", b"system volume information", b"lost+found"})
"""Folders of other programs, in lower case; hidden ones (a leading dot) are skipped too."""

FAILED_FOR_NOW = -1
"""The modification time recorded for a file that could not be opened: no file has it, so each run tries again."""
UNSETTLED = -2
"""The one recorded for a file that had been written a moment before it was read, so that it may have been written once
more with the same time: the next run looks again, as git does with what is racy in its index."""
_GRAINS = ((10**9, 2 * 10**9), (1, 20 * 10**6))
"""What modification times are multiples of, and how long a file may be written without a new one, both in nanoseconds:
whole seconds stand for file systems that know no finer ones (FAT: every second one), and clocks of kernels tick up to
100 times a second."""
_SUFFIXES = tuple(sorted(suffix.encode() for suffix in SUFFIXES))


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file to be read: new, or not as the catalog remembers it. `known` is its row's key in the catalog, or None."""

    folder: bytes
    name: bytes
    size: int
    mtime_ns: int
    known: int | None = None

    @property
    def path(self) -> bytes:
        """Where it lies."""
        return join(self.folder, self.name)


def modified_ns(status: os.stat_result) -> int:
    """When the file was last written, in nanoseconds; dates beyond the year 2262, which SQLite cannot hold, are cut."""
    return max(0, min(status.st_mtime_ns, 2**63 - 1))


def settled_ns(status: os.stat_result, read_ns: int) -> int:
    """`modified_ns` of a file that was read from `read_ns` (nanoseconds since the epoch) on, or `UNSETTLED`."""
    window = next(window for grain, window in _GRAINS if status.st_mtime_ns % grain == 0)
    return modified_ns(status) if abs(read_ns - status.st_mtime_ns) >= window else UNSETTLED


@dataclass
class Scan:
    """What a scan of one folder tree found.

    Attributes:
        to_read: new and changed files.
        gone: files that are no longer there: catalog key, folder, name.
        unchanged: how many files are as the catalog has them; `failed` of these could not be read back then.
        unreadable: folders that could not be listed, each with a sentence; what the catalog has below them stays.
    """

    to_read: list[FoundFile] = field(default_factory=list)
    gone: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    unchanged: int = 0
    failed: int = 0
    unreadable: list[tuple[bytes, str]] = field(default_factory=list)


def scan(
    connection: sqlite3.Connection,
    root: bytes,
    *,
    skip: bytes,
    seen: Callable[[int], None] = lambda count: None,
) -> Scan:
    """Compare the tree below `root` (absolute) with the catalog.

    `skip` is a folder never entered, by whatever name (the home may lie inside a library); `seen` hears how
    many files were seen so far.

    Raises:
        OSError: `root` itself cannot be listed.
    """
    result = Scan()
    visited: set[bytes] = set()
    count = 0
    for folder, entries in _walk(root, skip, result.unreadable):
        visited.add(folder)
        known = {
            row[0]: row[1:]
            for row in connection.execute(
                "SELECT name, key, size, mtime_ns, failure FROM files WHERE folder = ?", (folder,)
            )
        }
        for name, status in entries:
            count += 1
            size, modified = status.st_size, modified_ns(status)
            before = known.pop(name, None)
            if before is not None and _is_as(before[1:3], (size, modified), join(folder, name)):
                result.unchanged += before[3] is None
                result.failed += before[3] is not None
            else:
                result.to_read.append(FoundFile(folder, name, size, modified, before[0] if before else None))
        result.gone.extend((row[0], folder, name) for name, row in known.items())
        seen(count)
    blind = [folder for folder, _ in result.unreadable]
    for (folder,) in connection.execute("SELECT DISTINCT folder FROM files").fetchall():
        if folder not in visited and is_within(folder, root) and not any(is_within(folder, below) for below in blind):
            rows = connection.execute("SELECT key, name FROM files WHERE folder = ?", (folder,))
            result.gone.extend((key, folder, name) for key, name in rows)
    return result


def _is_as(before: tuple[int, int], now: tuple[int, int], path: bytes) -> bool:
    # What could not be opened is asked for again here, where that costs nothing, not by loading a model first.
    return before == now or (before[1] == FAILED_FOR_NOW and not os.access(path, os.R_OK))


def _walk(
    root: bytes, skip: bytes, unreadable: list[tuple[bytes, str]]
) -> Iterator[tuple[bytes, list[tuple[bytes, os.stat_result]]]]:
    """Every folder with its photo files. Real folders come first, so that a link never gives a photo its path where
    the folder itself is in the library."""
    entered: set[tuple[int, int]] = set()
    with contextlib.suppress(OSError):
        own = os.stat(skip)
        entered.add((own.st_dev, own.st_ino))
    real, linked = [root], list[bytes]()
    while real or linked:
        folder = real.pop() if real else linked.pop()
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                files = []
                for entry in entries:
                    kind = _kind(entry)
                    if kind == "file" and (found := _regular(entry)) is not None:
                        files.append((entry.name, found))
                    elif kind in ("folder", "linked folder") and not _skipped(entry.name):
                        (real if kind == "folder" else linked).append(entry.path)
        except OSError as error:
            if folder == root:
                raise
            unreadable.append((folder, f"it cannot be listed: {(error.strerror or str(error)).lower()}"))
            continue
        yield folder, files


def _kind(entry: os.DirEntry[bytes]) -> str:
    try:
        if entry.is_dir(follow_symlinks=False):
            return "folder"
        if entry.is_symlink() and entry.is_dir():
            return "linked folder"
    except OSError:  # a link that leads round in a circle
        return "other"
    hidden = entry.name.startswith(b".")
    return "file" if not hidden and entry.name.lower().endswith(_SUFFIXES) else "other"


def _regular(entry: os.DirEntry[bytes]) -> os.stat_result | None:
    """The status of a regular file; None for a FIFO, a socket, a device, or a link that leads nowhere."""
    try:
        status = entry.stat()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return None
        raise  # what cannot be looked at may well be there: the whole folder counts as unreadable
    return status if stat.S_ISREG(status.st_mode) else None


def _skipped(name: bytes) -> bool:
    return name.startswith(b".") or name.lower() in SKIPPED_FOLDERS
