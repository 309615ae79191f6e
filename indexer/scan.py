"""Scanning: which files of a library are new or changed, and which are gone, without opening any.

A file whose path, size and modification time are those of the catalog is unchanged. Names are bytes all the way, so
that any name survives; links are followed, each real folder being visited once; only regular files count.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from indexer.retries import is_due
from indexer.rules import Level, Sieve
from indexer.storage import storage_of
from indexer.storage.local import reason
from indexer.storage.protocol import ListedFile
from indexer.suffixes import is_photo_name
from search.catalog.paths import is_within, join

FAILED_FOR_NOW = -1
"""The modification time recorded for a file that could not be opened: no file has it, so each run tries again."""
UNSETTLED = -2
"""The one recorded for a file that had been written a moment before it was read, so that it may have been written once
more with the same time: the next run looks again, as git does with what is racy in its index."""
_GRAINS = ((10**9, 2 * 10**9), (1, 20 * 10**6))
"""What modification times are multiples of, and how long a file may be written without a new one, both in nanoseconds:
whole seconds stand for file systems that know no finer ones (FAT: every second one), and clocks of kernels tick up to
100 times a second."""


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


GoneFile = tuple[int, bytes, bytes]
"""Key in the catalog, folder, name."""


def modified_ns(status: os.stat_result) -> int:
    """When the file was last written, in nanoseconds; dates beyond the year 2262, which SQLite cannot hold, are cut."""
    return _cut(status.st_mtime_ns)


def _cut(nanoseconds: int) -> int:
    return max(0, min(nanoseconds, 2**63 - 1))


def settled_ns(status: os.stat_result, read_ns: int) -> int:
    """`modified_ns` of a file that was read from `read_ns` (nanoseconds since the epoch) on, or `UNSETTLED`."""
    window = next(window for grain, window in _GRAINS if status.st_mtime_ns % grain == 0)
    return modified_ns(status) if abs(read_ns - status.st_mtime_ns) >= window else UNSETTLED


@dataclass
class Scan:
    """What a scan found.

    Attributes:
        to_read: new and changed files.
        gone: files of the catalog that are no longer there.
        left_out: files of the catalog that the rules leave out by now, whether or not they are there.
        returned: keys of files that were missing, and are there as they had been.
        photos: how many files that may be photos were seen, left out or not.
        unchanged: how many files are as the catalog has them; `failed` of these could not be read back then.
        unreadable: folders that could not be listed, each with a sentence; what the catalog has below them stays.
    """

    to_read: list[FoundFile] = field(default_factory=list)
    gone: list[GoneFile] = field(default_factory=list)
    left_out: list[GoneFile] = field(default_factory=list)
    returned: list[int] = field(default_factory=list)
    photos: int = 0
    unchanged: int = 0
    failed: int = 0
    unreadable: list[tuple[bytes, str]] = field(default_factory=list)

    def add(self, other: Scan) -> None:
        """Take in what another scan found."""
        for one in ("to_read", "gone", "left_out", "returned", "unreadable"):
            getattr(self, one).extend(getattr(other, one))
        self.photos += other.photos
        self.unchanged += other.unchanged
        self.failed += other.failed

    @property
    def blind(self) -> list[bytes]:
        """The folders that could not be listed."""
        return [folder for folder, _ in self.unreadable]


def scan(
    connection: sqlite3.Connection,
    root: bytes,
    *,
    sieve: Sieve,
    skip: bytes,
    seen: Callable[[int], None] = lambda count: None,
) -> Scan:
    """Compare the tree below `root` (absolute), a library or a folder in one, with the catalog.

    `skip` is a folder never entered, by whatever name (the home may lie inside a library); `seen` hears how
    many files were seen so far.

    Raises:
        OSError: `root` itself cannot be listed.
    """
    result = Scan()
    level = sieve.level(root)
    if level is not None:
        _compare_tree(connection, root, level, sieve, skip, result, seen)
    else:
        storage_of(root).check(root)
        _miss_below(connection, root, set(), sieve, result)
    return result


def scan_places(
    connection: sqlite3.Connection, places: Sequence[bytes], *, sieve: Sieve, root: bytes, skip: bytes
) -> Scan:
    """Compare some files and folders of the library `root`, by their absolute paths, with the catalog; of folders all
    that is in them. Costs what lies there, however large the library is."""
    result = Scan()
    own = os.path.realpath(skip)
    levels: dict[bytes, Level | None] = {}
    for place in _outermost(places):
        folder, name = os.path.split(place)
        try:
            # A link to a photo is a file of its own; behind one to a folder, files are of where they really lie.
            real = os.path.realpath(place if os.path.isdir(place) else folder)
            if is_within(real, own):
                continue
            behind = real != (place if os.path.isdir(place) else folder)
            if behind and is_within(real, root) and sieve.level(real) is not None:
                continue
            if folder not in levels:
                levels[folder] = sieve.level(folder)
            level = levels[folder]
            status = _status(place)
            if level is not None and status is not None and stat.S_ISDIR(status.st_mode):
                inner = level.enter(name)
                if inner is not None:
                    _compare_tree(connection, place, inner, sieve, skip, result)
                    continue
            there = level is not None and status is not None and stat.S_ISREG(status.st_mode) and is_photo_name(name)
            files = [(name, status.st_size, status.st_mtime_ns)] if there and status is not None else []
            _compare(connection, folder, level, files, result, only=name)
        except OSError as error:
            result.unreadable.append((folder, reason(error)))
            continue
        _miss_below(connection, place, set(), sieve, result)
    _miss_links(connection, root, result)
    return result


def _outermost(places: Sequence[bytes]) -> list[bytes]:
    """The places, each once, without those that lie in another one: they are looked at with it."""
    all_of_them = set(places)

    def lies_in_another(place: bytes) -> bool:
        while (above := os.path.dirname(place)) != place:
            if above in all_of_them:
                return True
            place = above
        return False

    return [place for place in dict.fromkeys(places) if not lies_in_another(place)]


def _miss_links(connection: sqlite3.Connection, root: bytes, result: Scan) -> None:
    """Links to what has gone lead nowhere any more, and nobody tells of them."""
    known = {key for key, *_ in result.gone}
    for gone, *_ in list(result.gone):
        rows = connection.execute(
            "SELECT key, folder, name FROM files WHERE photo_key = (SELECT photo_key FROM files WHERE key = ?)", (gone,)
        )
        for key, folder, name in rows.fetchall():
            path = join(folder, name)
            if key not in known and is_within(folder, root) and os.path.islink(path) and not os.path.exists(path):
                known.add(key)
                result.gone.append((key, folder, name))


def _compare_tree(
    connection: sqlite3.Connection,
    root: bytes,
    level: Level,
    sieve: Sieve,
    skip: bytes,
    result: Scan,
    seen: Callable[[int], None] = lambda count: None,
) -> None:
    visited: set[bytes] = set()
    for folder, within, files in storage_of(root).walk(root, level, skip, result.unreadable):
        visited.add(folder)
        _compare(connection, folder, within, files, result)
        seen(result.photos)
    _miss_below(connection, root, visited, sieve, result)


def _compare(
    connection: sqlite3.Connection,
    folder: bytes,
    level: Level | None,
    files: list[ListedFile],
    result: Scan,
    only: bytes | None = None,
) -> None:
    """Compare the photo files of one folder, or one of them, with the catalog."""
    files.sort()  # by name, as the catalog gives them
    if only is None and level is not None and _is_as_known(connection, folder, level, files):
        result.photos += len(files)
        result.unchanged += len(files)
        return
    one, values = (" AND name = ?", (folder, only)) if only is not None else ("", (folder,))
    known = {
        row[0]: row[1:]
        for row in connection.execute(
            f"SELECT name, key, size, mtime_ns, failure, missing_at FROM files WHERE folder = ?{one}", values
        )
    }
    for name, size, written in files:
        result.photos += 1
        modified = _cut(written)
        if level is None or not level.takes(name, size):
            continue
        before = known.pop(name, None)
        if before is not None and _is_as(before[1:4], (size, modified), join(folder, name)):
            result.unchanged += before[3] is None
            result.failed += before[3] is not None
            if before[4] is not None:
                result.returned.append(before[0])
        else:
            result.to_read.append(FoundFile(folder, name, size, modified, before[0] if before else None))
    for name, (key, size, *_) in known.items():
        taken = level is not None and level.takes(name, size)
        (result.gone if taken else result.left_out).append((key, folder, name))


def _is_as_known(connection: sqlite3.Connection, folder: bytes, level: Level, files: list[ListedFile]) -> bool:
    """Whether the photo files of a folder, sorted, are those of the catalog, all as they were, and none that failed or
    was missing. It is so with most folders of most runs; told of all files at once, it takes a fraction of the time."""
    if not level.takes_all(files):
        return False
    # What failed or was missing has no time here, so that it is as no file is.
    known = connection.execute(
        "SELECT name, size, CASE WHEN failure IS NULL AND missing_at IS NULL THEN mtime_ns END FROM files"
        " WHERE folder = ? ORDER BY name",
        (folder,),
    )
    return known.fetchall() == files


def _miss_below(connection: sqlite3.Connection, root: bytes, visited: set[bytes], sieve: Sieve, result: Scan) -> None:
    """What the catalog has at and below `root` in folders that were not visited."""
    blind = result.blind
    below = join(root, b"")
    # All that begins with `below` sorts before what begins with the next byte.
    for (folder,) in connection.execute(
        "SELECT DISTINCT folder FROM files WHERE folder = ? OR (folder >= ? AND folder < ?)",
        (root, below, below[:-1] + bytes([below[-1] + 1])),
    ).fetchall():
        if folder in visited or any(is_within(folder, each) for each in blind):
            continue
        try:
            level = sieve.level(folder)
        except OSError as error:
            result.unreadable.append((folder, reason(error)))
            continue
        rows = connection.execute("SELECT key, name, size FROM files WHERE folder = ?", (folder,))
        for key, name, size in rows.fetchall():
            taken = level is not None and level.takes(name, size)
            (result.gone if taken else result.left_out).append((key, folder, name))


def _is_as(before: tuple[int, int, str | None], now: tuple[int, int], path: bytes) -> bool:
    *known, failure = before
    if (*known,) == now:
        return failure is None or not is_due(failure)
    # What could not be opened is asked for again here, where that costs nothing, not by loading a model first.
    return known[1] == FAILED_FOR_NOW and not storage_of(path).may_be_read(path)


def _status(path: bytes) -> os.stat_result | None:
    """The status of what lies at a path, links followed; None where nothing does."""
    try:
        return os.stat(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise
