"""The pages of a SQLite database, with those of its log over them, read without SQLite.

SQLite gives up a table at its first broken page, with all that lies behind it in the tree. What is written here of the
format (https://sqlite.org/fileformat2.html) is as much as reading what is whole needs; it writes nothing.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from indexer.salvage.log import Log
from search.catalog.files import beside

_USUAL_PAGE = 4096
"""Bytes: what SQLite takes for a new database, and so what every catalog has."""


class Pages:
    """The pages of a catalog as its last whole commit left them. Pages are numbered from 1.

    Attributes:
        size: bytes of a page.
        count: how many there are.
        head: the first 100 bytes of the first.
        lost_commits, lost_surely: those of the log that cannot be read, as in `Log`.
    """

    def __init__(self, catalog: Path, *, with_log: bool = True) -> None:
        """Open it; without its log where that is another catalog's. Raises `OSError`."""
        self._file = open(catalog, "rb")  # noqa: SIM115
        try:
            head = self._file.read(100)
            size = int.from_bytes(head[16:18], "big")
            size = 65536 if size == 1 else size
            self.size = size if size >= 512 and size & (size - 1) == 0 else _USUAL_PAGE
            length = os.fstat(self._file.fileno()).st_size
            self._log = Log(beside(catalog, "-wal") if with_log else None, self.size, -(-length // self.size))
        except BaseException:
            self._file.close()
            raise
        # A page that the file's end cuts is read with zeros behind it: rows may stand before.
        self.count = max(-(-length // self.size), self._log.count)
        self.lost_commits = self._log.lost_commits
        self.lost_surely = self._log.lost_surely
        self.head = (self[1] or b"")[:100].ljust(100, b"\0")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._log.close()

    def __getitem__(self, number: int) -> bytes | None:
        """The page, or None where there is none of this number or the disk does not give it."""
        if not 1 <= number <= self.count:
            return None
        kept = self._log.page(number)
        if kept is not None:
            return kept
        try:
            self._file.seek((number - 1) * self.size)
            page = self._file.read(self.size)
        except OSError:
            return None  # a sector that cannot be read
        return page.ljust(self.size, b"\0") if page else None

    def free(self) -> set[int]:
        """The pages that hold nothing any more, as far as the list of them can be followed: what stands in them was
        deleted."""
        found: set[int] = set()
        trunk = int.from_bytes(self.head[32:36], "big")
        while 1 < trunk <= self.count and trunk not in found:
            page = self[trunk]
            if page is None:
                break
            trunk_next, count = struct.unpack_from(">II", page)
            if count > self.size // 4 - 2:
                break
            found.add(trunk)
            found.update(struct.unpack_from(f">{count}I", page, 8))
            trunk = trunk_next
        return {number for number in found if 1 < number <= self.count}

    def __iter__(self) -> Iterator[int]:
        return iter(range(1, self.count + 1))
