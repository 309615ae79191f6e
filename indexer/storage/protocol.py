"""What the indexer asks of a file system."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeVar

if TYPE_CHECKING:
    from indexer.rules import Level

ListedFile = tuple[bytes, int, int]
"""A file's name, its size in bytes, and when it was last written, in nanoseconds: `st_size` and `st_mtime_ns`. Plain,
because there may be millions."""
Listed = tuple[bytes, "Level", list[ListedFile]]
"""A folder, the rules in it, and its photo files."""
Item = TypeVar("Item")
Result = TypeVar("Result")


class Storage(Protocol):
    """Files and folders, by their absolute paths. Every method may raise `OSError` where it does not say otherwise."""

    def status(self, path: bytes) -> os.stat_result:
        """A file's size, and a time (`st_mtime_ns`) that is another one whenever it was written. Raises
        `FileNotFoundError` where there is none."""
        ...

    def opened(self, path: bytes) -> AbstractContextManager[tuple[BinaryIO, os.stat_result]]:
        """A file, open to be read, and its state before that. Raises `PhotoError` where it is no regular file."""
        ...

    def status_of(self, stream: BinaryIO) -> os.stat_result:
        """The state that a file from `opened` has by now."""
        ...

    def tells_every_write(self, status: os.stat_result) -> bool:
        """Whether this state cannot be that of two contents, one written right after the other. Never raises."""
        ...

    def check(self, root: bytes) -> None:
        """Make sure that a folder is there and may be listed."""
        ...

    def walk(self, root: bytes, level: Level, skip: bytes, unreadable: list[tuple[bytes, str]]) -> Iterator[Listed]:
        """Every folder at and below `root` that the rules do not leave out, with its photo files, each folder once.

        Folders that cannot be listed are added to `unreadable`, each with a sentence; of `root` that is raised. `skip`
        is one never entered.
        """
        ...

    def is_folder(self, root: bytes) -> bool:
        """Whether a library's folder is there. Never raises."""
        ...

    def is_gone(self, root: bytes) -> bool:
        """Whether a library's folder is surely there no more. Never raises."""
        ...

    def exists(self, path: bytes) -> bool:
        """Whether anything lies at a path; where that cannot be told, it does. Never raises."""
        ...

    def may_be_read(self, path: bytes) -> bool:
        """Whether a file may be opened, as far as that can be told for nothing. Never raises."""
        ...

    def has_rested(self, path: bytes) -> bool:
        """Whether a file that could not be read is worth another try; while its storage is not asked for anything,
        that is waited for. Never raises."""
        ...

    def each(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """`function` of each of some items, in their order, as many side by side as this storage likes."""
        ...
