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

from search.catalog.files import beside

_USUAL_PAGE = 4096
"""Bytes: what SQLite takes for a new database, and so what every catalog has."""
_LOG_MAGIC = 0x377F0682  # the last bit says in which order the numbers' bytes are summed


class Pages:
    """The pages of a catalog as its last whole commit left them. Pages are numbered from 1."""

    def __init__(self, catalog: Path, *, with_log: bool = True) -> None:
        """Open it; without its log where that is another catalog's. Raises `OSError`."""
        self._file = open(catalog, "rb")  # noqa: SIM115
        try:
            head = self._file.read(100)
            size = int.from_bytes(head[16:18], "big")
            size = 65536 if size == 1 else size
            self.size = size if size >= 512 and size & (size - 1) == 0 else _USUAL_PAGE
            self._log = _Log(beside(catalog, "-wal") if with_log else None, self.size)
            length = os.fstat(self._file.fileno()).st_size
        except BaseException:
            self._file.close()
            raise
        # A page that the file's end cuts is read with zeros behind it: rows may stand before.
        self.count = max(-(-length // self.size), self._log.count)
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


class _Log:
    """The commits of a write-ahead log, up to the first frame that is not whole: what comes after it never was."""

    def __init__(self, path: Path | None, page_size: int) -> None:
        self._places: dict[int, int] = {}
        self._page_size = page_size
        self.count = 0  # pages of the database after the last commit
        self._file = None
        if path is None:
            return
        try:
            self._file = open(path, "rb")  # noqa: SIM115
            self._read()
        except (OSError, struct.error):
            self._places.clear()
            self.count = 0

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def page(self, number: int) -> bytes | None:
        place = self._places.get(number)
        if place is None or self._file is None:
            return None
        try:
            self._file.seek(place)
            return self._file.read(self._page_size).ljust(self._page_size, b"\0")
        except OSError:
            return b"\0" * self._page_size  # a sector that cannot be read; what the catalog has is older

    def _read(self) -> None:
        assert self._file is not None
        head = self._file.read(32)
        magic, _, page_size, _ = struct.unpack_from(">4I", head)
        if magic & ~1 != _LOG_MAGIC or page_size != self._page_size:
            return
        order = ">" if magic & 1 else "<"
        sums = _summed(head[:24], (0, 0), order)
        if sums != struct.unpack_from(">2I", head, 24):
            return
        pending: dict[int, int] = {}
        while len(frame := self._file.read(24)) == 24:
            number, commits = struct.unpack_from(">2I", frame)
            place = self._file.tell()
            page = self._file.read(self._page_size)
            if frame[8:16] != head[16:24] or len(page) < self._page_size:
                return
            sums = _summed(page, _summed(frame[:8], sums, order), order)
            if sums != struct.unpack_from(">2I", frame, 16):
                return
            pending[number] = place
            if commits:
                self._places |= pending
                pending.clear()
                self.count = commits


def _summed(content: bytes, sums: tuple[int, int], order: str) -> tuple[int, int]:
    one, other = sums
    words = struct.unpack(f"{order}{len(content) // 4}I", content)
    for first, second in zip(words[::2], words[1::2], strict=True):
        one = (one + first + other) & 0xFFFFFFFF
        other = (other + second + one) & 0xFFFFFFFF
    return one, other
