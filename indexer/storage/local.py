"""Files on disks, as the operating system has them."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from indexer.storage.protocol import Item, Listed, ListedFile, Result
from indexer.suffixes import is_photo_name
from search.errors import PhotoError

if TYPE_CHECKING:
    from indexer.rules import Level


class LocalStorage:
    """See `Storage`. Links are followed, each real folder being visited once; only regular files count."""

    def status(self, path: bytes) -> os.stat_result:
        """See `Storage.status`."""
        return os.stat(path)

    @contextlib.contextmanager
    def opened(self, path: bytes) -> Iterator[tuple[BinaryIO, os.stat_result]]:
        """See `Storage.opened`."""
        # Not to wait for ever for somebody who writes, where a FIFO took the place of a file.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise PhotoError("it is not a regular file")
            with os.fdopen(descriptor, "rb", closefd=False) as stream:
                yield stream, status
        finally:
            os.close(descriptor)

    def status_of(self, stream: BinaryIO) -> os.stat_result:
        """See `Storage.status_of`."""
        return os.fstat(stream.fileno())

    def tells_every_write(self, status: os.stat_result) -> bool:
        """See `Storage.tells_every_write`. Clocks of file systems are coarse."""
        return False

    def check(self, root: bytes) -> None:
        """See `Storage.check`."""
        os.stat(root)

    def walk(self, root: bytes, level: Level, skip: bytes, unreadable: list[tuple[bytes, str]]) -> Iterator[Listed]:
        """Every folder with its photo files. Real folders come first, so that a link never gives a photo its path where
        the folder itself is in the library."""
        entered: set[tuple[int, int]] = set()
        with contextlib.suppress(OSError):
            own = os.stat(skip)
            entered.add((own.st_dev, own.st_ino))
        real: list[tuple[bytes, Callable[[], Level | None]]] = [(root, lambda: level)]
        linked: list[tuple[bytes, Callable[[], Level | None]]] = []
        while real or linked:
            folder, enter = real.pop() if real else linked.pop()
            try:
                within = enter()
                status = os.stat(folder)
                if within is None or (status.st_dev, status.st_ino) in entered:
                    continue
                entered.add((status.st_dev, status.st_ino))
                with os.scandir(folder) as entries:
                    files: list[ListedFile] = []
                    for entry in entries:
                        if entry.is_file(follow_symlinks=False):  # most are, and there may be millions
                            name = entry.name
                            if not is_photo_name(name):
                                continue
                            try:
                                status = entry.stat()
                            except FileNotFoundError:  # it has just gone
                                continue
                            if stat.S_ISREG(status.st_mode):  # still
                                files.append((name, status.st_size, status.st_mtime_ns))
                        elif entry.is_dir(follow_symlinks=False):
                            real.append((entry.path, partial(within.enter, entry.name)))
                        elif not entry.is_symlink() or (linked_folder := _leads_to_folder(entry)) is None:
                            continue
                        elif linked_folder:
                            linked.append((entry.path, partial(within.enter, entry.name)))
                        elif is_photo_name(entry.name) and (linked_file := _leads_to_file(entry)) is not None:
                            files.append(linked_file)
            except OSError as error:
                if folder == root:
                    raise
                unreadable.append((folder, reason(error)))
                continue
            yield folder, within, files

    def is_folder(self, root: bytes) -> bool:
        """See `Storage.is_folder`."""
        return os.path.isdir(root)

    def is_gone(self, root: bytes) -> bool:
        """See `Storage.is_gone`."""
        return not os.path.isdir(root)

    def exists(self, path: bytes) -> bool:
        """See `Storage.exists`. A link that leads nowhere is something."""
        return os.path.lexists(path)

    def may_be_read(self, path: bytes) -> bool:
        """See `Storage.may_be_read`."""
        return os.access(path, os.R_OK)

    def has_rested(self, path: bytes) -> bool:
        """See `Storage.has_rested`."""
        return False

    def each(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """See `Storage.each`. One after the other, each when it is asked for."""
        return map(function, items)


LOCAL = LocalStorage()


def _leads_to_folder(link: os.DirEntry[bytes]) -> bool | None:
    """None where it cannot be followed: it leads round in a circle, through a file, to where nobody may look. Such a
    link is passed over; the folder that it is in is sound."""
    try:
        return link.is_dir()
    except OSError:
        return None


def _leads_to_file(link: os.DirEntry[bytes]) -> ListedFile | None:
    """What a link leads to; None for a FIFO, a socket, a device, or nothing."""
    try:
        status = link.stat()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return None
        raise  # what cannot be looked at may well be there: the whole folder counts as unreadable
    return (link.name, status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def reason(error: OSError) -> str:
    """What is said of a folder that cannot be listed."""
    return f"it cannot be listed: {(error.strerror or str(error)).lower()}"
