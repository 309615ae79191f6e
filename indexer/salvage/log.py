"""The commits in the write-ahead log of a SQLite database, read without SQLite, and those that nobody can read."""

from __future__ import annotations

import contextlib
import struct
from collections import Counter
from pathlib import Path

_MAGIC = 0x377F0682  # the last bit says in which order the numbers' bytes are summed
_HEAD = 32  # bytes, before the frames
_FRAME = 24  # bytes, before each page


class Log:
    """The commits of a log, up to the first frame that is not whole: SQLite takes what comes after it for nothing.

    Attributes:
        count: pages of the database after the last commit; 0 without one.
        lost_commits: how many commits stand behind the first frame that is not whole, at least. What an earlier round
            of the log has left there is told by its salts.
        lost_surely: whether damage is the only way to that. A single one may also be what was being written when the
            power failed, of which nobody was told that it was done.
    """

    def __init__(self, path: Path | None, page_size: int, pages: int) -> None:
        """Read the log of a database of so many pages, if there is one."""
        self._places: dict[int, int] = {}
        self._page_size = page_size
        self._most = pages
        self.count = 0
        self.lost_commits = 0
        self.lost_surely = False
        self._file = None
        # Where a sector cannot be read, the commits before it are whole.
        with contextlib.suppress(OSError):
            if path is not None:
                self._file = open(path, "rb")  # noqa: SIM115
                self._read()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def page(self, number: int) -> bytes | None:
        """A page as the log has it, or None where it has none of this number."""
        place = self._places.get(number)
        if place is None or self._file is None:
            return None
        try:
            self._file.seek(place)
            return self._file.read(self._page_size).ljust(self._page_size, b"\0")
        except OSError:
            return bytes(self._page_size)  # a sector that cannot be read; what the catalog has is older

    def _read(self) -> None:
        assert self._file is not None
        head = self._file.read(_HEAD)
        if len(head) < _HEAD:
            return
        magic, _, page_size, _ = struct.unpack_from(">4I", head)
        order = ">" if magic & 1 else "<"
        sums = _summed(head[:24], (0, 0), order)
        if magic & ~1 != _MAGIC or page_size != self._page_size or sums != struct.unpack_from(">2I", head, 24):
            self._count_lost(_HEAD, None)
            return
        pending: dict[int, int] = {}
        place = _HEAD
        while len(frame := self._file.read(_FRAME)) == _FRAME:
            number, commits = struct.unpack_from(">2I", frame)
            page = self._file.read(self._page_size)
            if len(page) < self._page_size:
                return
            sums = _summed(page, _summed(frame[:8], sums, order), order)
            if frame[8:16] != head[16:24] or sums != struct.unpack_from(">2I", frame, 16):
                self._count_lost(place, head[16:24])
                return
            pending[number] = place + _FRAME
            if commits:
                self._places |= pending
                pending.clear()
                self.count = commits
            place += _FRAME + self._page_size

    def _count_lost(self, place: int, salts: bytes | None) -> None:
        """Count the commits from `place` on, of the log with these salts; where they are unknown, since its head is
        damaged, with those that most of the frames have."""
        assert self._file is not None
        frames: list[bytes] = []
        self._file.seek(place)
        while len(frame := self._file.read(_FRAME)) == _FRAME:
            frames.append(frame)
            place += _FRAME + self._page_size
            self._file.seek(place)
        if frames:
            of_log = salts or Counter(frame[8:16] for frame in frames).most_common(1)[0][0]
            most = self._most + len(frames) + self.count
            marks = [struct.unpack_from(">2I", frame) for frame in frames if frame[8:16] == of_log]
            self.lost_commits = sum(0 < number <= most and 0 < commits <= most for number, commits in marks)
            self.lost_surely = self.lost_commits > (salts is not None)


def _summed(content: bytes, sums: tuple[int, int], order: str) -> tuple[int, int]:
    one, other = sums
    words = struct.unpack(f"{order}{len(content) // 4}I", content)
    for first, second in zip(words[::2], words[1::2], strict=True):
        one = (one + first + other) & 0xFFFFFFFF
        other = (other + second + one) & 0xFFFFFFFF
    return one, other
