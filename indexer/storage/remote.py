"""Objects in an object storage (S3, Google Cloud, Azure, ...), as fsspec has them.

What tells whether an object was written is its time and, where the listing has one, its ETag: times of S3 are whole
seconds. Both are kept as one number, the time in nanoseconds, whose fraction of the second is a hash of the ETag, and
no whole number of microseconds.

fsspec and the library underneath find credentials by themselves (environment, configuration files, the machine's role);
nothing here sees, keeps or prints any.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import io
import os
import re
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from indexer.rules import IGNORE_FILE
from indexer.storage.addresses import base_of, system_of
from indexer.storage.local import reason
from indexer.storage.protocol import Item, Listed, Result
from indexer.suffixes import is_photo_name

if TYPE_CHECKING:
    from indexer.rules import Level

SIDE_BY_SIDE = 32
"""Requests at a time: each waits for the network much longer than it computes."""
_LISTINGS = 16
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "modified", "created")
_ETAGS = ("ETag", "etag", "md5Hash", "content_md5")
_BEFORE_HOSTS = re.compile(r"//[^/@\s]*@")
_BEHIND_PATHS = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s?\"'<>]*)\?[^\s\"'<>]*")
_FAILURES = 3
_REST = 10.0
"""After so many failures in a row nothing is asked for so many seconds: each may have taken as long to fail."""
_PATIENCE = 60.0
"""For so many seconds what is to be read waits for the rest to be over: all of a library would else fail in it."""


class RemoteStorage:
    """See `Storage`. Folders are what stands before the slashes in the objects' names."""

    def status(self, path: bytes) -> os.stat_result:
        """See `Storage.status`."""
        with _asking(path) as (system, inner):
            return _status(system.info(inner))

    @contextlib.contextmanager
    def opened(self, path: bytes) -> Iterator[tuple[BinaryIO, os.stat_result]]:
        """See `Storage.opened`."""
        status = self.status(path)
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(errno.ENOENT, "it is no object")
        yield cast(BinaryIO, _Object(path, status.st_size)), status

    def status_of(self, stream: BinaryIO) -> os.stat_result:
        """See `Storage.status_of`."""
        return self.status(cast(_Object, stream).path)

    def tells_every_write(self, status: os.stat_result) -> bool:
        """See `Storage.tells_every_write`. An ETag does."""
        return status.st_mtime_ns % 1000 != 0

    def check(self, root: bytes) -> None:
        """See `Storage.check`."""
        _listing(root)

    def walk(self, root: bytes, level: Level, skip: bytes, unreadable: list[tuple[bytes, str]]) -> Iterator[Listed]:
        """See `Storage.walk`. Folders are listed some ahead, side by side."""
        waiting: list[tuple[bytes, Callable[[bool], Level | None]]] = [(root, lambda patterns: level)]
        listings: deque[tuple[bytes, Callable[[bool], Level | None], Future[_Listing]]] = deque()
        with_patterns: set[bytes] = set()
        try:
            while waiting or listings:
                while waiting and len(listings) < _LISTINGS:
                    folder, enter = waiting.pop()
                    listings.append((folder, enter, _pool().submit(_listing, folder)))
                folder, enter, listing = listings.popleft()
                try:
                    files, folders = listing.result()
                    if has_patterns := IGNORE_FILE in files:
                        with_patterns.add(folder)
                    within = enter(has_patterns)
                except OSError as error:
                    if folder == root:
                        raise
                    unreadable.append((folder, reason(error)))
                    continue
                if within is None:
                    continue
                for name in folders:
                    if within.wants_folder(name):
                        waiting.append((folder + b"/" + name, functools.partial(within.enter, name)))
                yield (
                    folder,
                    within,
                    [(name, of.st_size, of.st_mtime_ns) for name, of in files.items() if is_photo_name(name)],
                )
        finally:
            for *_, listing in listings:
                listing.cancel()
        level.sieve.looked_through(root, with_patterns)

    def is_folder(self, root: bytes) -> bool:
        """See `Storage.is_folder`."""
        try:
            return any(_listing(root))
        except OSError:
            return False

    def is_gone(self, root: bytes) -> bool:
        """Never surely: a folder of an object storage is only what its objects make of it."""
        return False

    def exists(self, path: bytes) -> bool:
        """See `Storage.exists`."""
        try:
            with _asking(path) as (system, inner):
                system.info(inner)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return True

    def may_be_read(self, path: bytes) -> bool:
        """See `Storage.may_be_read`."""
        return True

    def has_rested(self, path: bytes) -> bool:
        """See `Storage.has_rested`."""
        return _health_of(base_of(path)).has_rested()

    def each(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """See `Storage.each`."""
        return _pool().map(function, items)


REMOTE = RemoteStorage()
_Listing = tuple[dict[bytes, os.stat_result], list[bytes]]


class _Object(io.RawIOBase):
    """An object, read in ranges of bytes."""

    def __init__(self, path: bytes, size: int) -> None:
        super().__init__()
        self.path = path
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence] + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = self._size if size < 0 else min(self._size, self._at + size)
        if self._at >= end:
            return b""
        with _asking(self.path) as (system, inner):
            content: bytes = system.cat_file(inner, start=self._at, end=end)
        self._at += len(content)
        return content


def _listing(folder: bytes) -> _Listing:
    """The objects right below a folder, and the folders there. What has no name of its own (an empty one, `..`), which
    no path could lead to, is passed over."""
    with _asking(folder) as (system, inner):
        entries: list[dict[str, Any]] = system.ls(inner, detail=True)
    if len(entries) == 1 and entries[0].get("type") == "file" and str(entries[0]["name"]) == inner:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))  # what is said of an object itself
    above = inner.rstrip("/") + "/"
    files: dict[bytes, os.stat_result] = {}
    folders: list[bytes] = []
    for entry in entries:
        whole = str(entry["name"])
        name = whole.removeprefix(above).rstrip("/")
        if not whole.startswith(above) or name in ("", ".", "..") or "/" in name or "\0" in name:
            continue
        encoded = name.encode("utf-8", "surrogateescape")
        if entry.get("type") == "directory":
            folders.append(encoded)
        else:
            files[encoded] = _status(entry)
    return files, folders


def _status(entry: dict[str, Any]) -> os.stat_result:
    """What fsspec says of an object, as the system says it of a file."""
    directory = entry.get("type") == "directory"
    moment = next((_nanoseconds(entry[name]) for name in _TIMES if entry.get(name) is not None), 0)
    if tag := next((str(entry[name]) for name in _ETAGS if entry.get(name)), None):
        digest = hashlib.blake2b(tag.strip('"').encode("utf-8", "replace"), digest_size=8).digest()
        fraction = int.from_bytes(digest) % 10**9
        # No whole microseconds, which are times without an ETag.
        moment = moment - moment % 10**9 + fraction + (fraction % 1000 == 0)
    mode = (stat.S_IFDIR if directory else stat.S_IFREG) | 0o444
    seconds = moment // 10**9
    return os.stat_result(
        (mode, 0, 0, 1, 0, 0, int(entry.get("size") or 0), seconds, seconds, seconds),
        {"st_mtime": moment / 1e9, "st_mtime_ns": moment},
    )


def _nanoseconds(moment: object) -> int:
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError:
            return 0
    if isinstance(moment, datetime):
        return max(0, int(moment.timestamp()) * 10**9 + moment.microsecond * 1000)
    # Microseconds: a listing may have as a fraction what is a date in what is said of one object.
    return max(0, round(moment * 10**6) * 1000) if isinstance(moment, int | float) else 0


class _Health:
    """Whether a storage answers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        self._began = self._until = 0.0
        self._why = ""

    def check(self) -> None:
        """Raise `OSError` where it has just failed several times."""
        with self._lock:
            if self._failures >= _FAILURES and time.monotonic() < self._until:
                raise OSError(errno.EHOSTUNREACH, self._why)

    def heard(self, failure: str | None) -> None:
        """It answered, or failed."""
        now = time.monotonic()
        with self._lock:
            if self._failures == 0:
                self._began = now
            self._failures = 0 if failure is None else self._failures + 1
            self._until, self._why = now + _REST, failure or ""

    def has_rested(self) -> bool:
        """Wait until it may be asked again; False where it has not answered for long."""
        with self._lock:
            now = time.monotonic()
            if self._failures < _FAILURES:
                return True
            if now - self._began >= _PATIENCE:
                return False
            rest = self._until - now
        time.sleep(max(0.0, rest))
        return True


_health: dict[bytes, _Health] = {}


def _health_of(base: bytes) -> _Health:
    return _health.setdefault(base, _Health())


@contextlib.contextmanager
def _asking(path: bytes) -> Iterator[tuple[Any, str]]:
    """Fsspec's file system for a path, and what it calls the path. Within, whatever fails is an `OSError`."""
    base = base_of(path)
    health = _health_of(base)
    health.check()
    try:
        system, inner = system_of(base)
        if getattr(system, "dircache", None):  # of one that remembers what it has listed
            system.invalidate_cache()
        yield system, inner.rstrip("/") + path[len(base) :].decode("utf-8", "surrogateescape")
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        health.heard(None)
        kind = PermissionError if isinstance(error, PermissionError) else FileNotFoundError
        number = errno.EACCES if isinstance(error, PermissionError) else errno.ENOENT
        raise kind(number, os.strerror(number)) from error
    except Exception as error:  # of many libraries, each with kinds of its own
        told = _without_secrets(" ".join(str(error).split()))[:300] or type(error).__name__
        health.heard(told)
        raise OSError(errno.EIO, told) from error
    health.heard(None)


def _without_secrets(told: str) -> str:
    """What a library says, without what stands before the host and behind the path of the addresses in it: passwords
    and signatures do."""
    return _BEHIND_PATHS.sub(r"\1", _BEFORE_HOSTS.sub("//", told))


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(SIDE_BY_SIDE, "storage")
