"""The rows of a table's tree of pages, as many as can be read."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from indexer.salvage.pages import Pages

Value = int | float | str | bytes | None
_LEAF = {True: 13, False: 10}
_INTERIOR = {True: 5, False: 2}
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}  # bytes by serial type


@dataclass(frozen=True)
class Row:
    """A row as it is stored: its number (None in a tree without numbers, such as an index), its values, and the pages
    that it goes on in where it is long."""

    number: int | None
    values: tuple[Value, ...]
    further: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Page:
    rows: list[Row]
    broken: int
    children: list[int]


class UnreadableError(ValueError):
    """What lies there is not what the format says."""


@dataclass
class Trees:
    """Reads trees of pages.

    Attributes:
        seen: the pages that belong to a tree that was read, or to a long row of one.
        broken_pages, broken_rows: how many could not be read.
    """

    pages: Pages
    seen: set[int] = field(default_factory=set)
    broken_pages: int = 0
    broken_rows: int = 0

    def rows(self, root: int, *, numbered: bool, fits: Callable[[Row], bool] = lambda row: True) -> Iterator[Row]:
        """The rows of the tree that begins at page `root`: of a table (`numbered`), or of an index or a table without
        rowid. What cannot be read is left out and counted; a leaf whose rows do not fit is another tree's, to which a
        broken page has led."""
        waiting = [root]
        while waiting:
            number = waiting.pop()
            if number in self.seen:
                continue
            page = self.pages[number]
            read = None if page is None else self._read(number, page, numbered)
            # The first page is the schema's word, if nothing speaks against it; what a broken one leads to must show
            # that it belongs here.
            rows = [] if read is None else read.rows
            here = belongs(rows, fits) or (number == root and (len(rows) == 1 or any(map(fits, rows))))
            # Only a tree of one page has an empty leaf.
            is_empty = read is not None and not (read.rows or read.broken or read.children) and number != root
            if read is None or not here or is_empty:
                self.broken_pages += 1
                continue
            self.take(number, read.rows)
            self.broken_rows += read.broken
            waiting += read.children
            yield from read.rows

    def take(self, number: int, rows: Sequence[Row]) -> None:
        """Take note that a page was read, and what its rows go on in."""
        self.seen.add(number)
        for row in rows:
            self.seen.update(row.further)

    def claim(self, root: int, *, numbered: bool) -> None:
        """Take note of which pages belong to a tree whose rows nobody needs."""
        waiting = [root]
        while waiting:
            number = waiting.pop()
            page = None if number in self.seen else self.pages[number]
            if page is None or page[_start(number)] not in (_LEAF[numbered], _INTERIOR[numbered]):
                continue
            self.seen.add(number)
            if page[_start(number)] == _INTERIOR[numbered]:
                waiting += self._children(number, page)

    def strays(self) -> Iterator[tuple[int, bool]]:
        """The leaves that no tree that was read has led to, and whether their rows are numbered: the page above them
        is broken. Those that were freed are left out."""
        free = self.pages.free()
        for number in self.pages:
            if number not in self.seen and number not in free and (page := self.pages[number]) is not None:
                kind = page[_start(number)]
                if kind in _LEAF.values():
                    yield number, kind == _LEAF[True]

    def leaf(self, number: int, *, numbered: bool) -> list[Row]:
        """The rows of one leaf."""
        page = self.pages[number]
        return [] if page is None else self._rows_at(number, page, numbered, interior=False)[0]

    def _read(self, number: int, page: bytes, numbered: bool) -> _Page | None:
        kind = page[_start(number)]
        # Nothing in a page above others reads as a row, so one that does is a leaf, whatever it says that it is.
        rows, broken = self._rows_at(number, page, numbered, interior=False)
        if rows or (kind == _LEAF[numbered]):
            return _Page(rows, broken, [])
        rows, broken = ([], 0) if numbered else self._rows_at(number, page, numbered, interior=True)
        children = self._children(number, page)
        if kind != _INTERIOR[numbered]:
            # As above: one that leads to pages alone is one above others.
            leads = len(children) > 1 and all(1 < child <= self.pages.count for child in children)
            if not leads or not (rows or numbered):
                return None
        return _Page(rows, broken, children)

    def _rows_at(self, number: int, page: bytes, numbered: bool, *, interior: bool) -> tuple[list[Row], int]:
        found, broken = [], 0
        for at in _cells(page, _start(number), interior):
            try:
                found.append(self._row(page, at + 4 * interior, numbered))
            except (UnreadableError, IndexError, struct.error):
                broken += 1
        return found, broken

    def _children(self, number: int, page: bytes) -> list[int]:
        start = _start(number)
        found = [struct.unpack_from(">I", page, at)[0] for at in _cells(page, start, True) if at + 4 <= len(page)]
        return [*found, struct.unpack_from(">I", page, start + 8)[0]]

    def _row(self, page: bytes, at: int, numbered: bool) -> Row:
        length, at = _varint(page, at)
        rowid: int | None = None
        if numbered:
            rowid, at = _varint(page, at)
        content, further = self._payload(page, at, length, numbered)
        return Row(rowid, record(content), further)

    def _payload(self, page: bytes, at: int, length: int, numbered: bool) -> tuple[bytes, tuple[int, ...]]:
        usable = len(page)
        most = usable - 35 if numbered else (usable - 12) * 64 // 255 - 23
        if length <= most:
            if at + length > usable:
                raise UnreadableError("the row goes beyond its page")
            return page[at : at + length], ()
        least = (usable - 12) * 32 // 255 - 23
        here = least + (length - least) % (usable - 4)
        here = here if here <= most else least
        if at + here + 4 > usable or length > usable * self.pages.count:
            raise UnreadableError("the row goes beyond its page")
        parts, left = [page[at : at + here]], length - here
        (number,) = struct.unpack_from(">I", page, at + here)
        passed: list[int] = []
        while left > 0:
            further = self.pages[number]
            if further is None or number in passed:
                raise UnreadableError("a part of the row is missing")
            passed.append(number)
            (number,) = struct.unpack_from(">I", further)
            parts.append(further[4 : 4 + left])
            left -= usable - 4
        return b"".join(parts), tuple(passed)


def belongs(rows: Sequence[Row], fits: Callable[[Row], bool]) -> bool:
    """Whether most of the rows of a page fit."""
    return not rows or 2 * sum(map(fits, rows)) > len(rows)


def record(content: bytes) -> tuple[Value, ...]:
    """The values of a row's record.

    Raises:
        UnreadableError: the lengths in it do not add up.
    """
    try:
        return _values(content)
    except (IndexError, struct.error) as error:
        raise UnreadableError("the row ends before its lengths say") from error


def _values(content: bytes) -> tuple[Value, ...]:
    head, at = _varint(content, 0)
    values: list[Value] = []
    place = head
    while at < head:
        kind, at = _varint(content, at)
        if kind in (0, 8, 9):
            values.append((None, 0, 1)[(0, 8, 9).index(kind)])
            continue
        if kind not in _INTEGERS and kind != 7 and kind < 12:
            raise UnreadableError(f"there is no type {kind}")
        length = (kind - 12) // 2 if kind >= 12 else _INTEGERS.get(kind, 8)
        part = content[place : place + length]
        place += length
        if kind == 7:
            values.append(struct.unpack(">d", part)[0])
        elif kind < 12:
            values.append(int.from_bytes(part, "big", signed=True))
        else:
            # A letter that is broken should not cost the text.
            values.append(part.decode("utf-8", "replace") if kind % 2 else part)
    if at != head or place != len(content):
        raise UnreadableError("the lengths in the row do not add up")
    return tuple(values)


def _start(number: int) -> int:
    return 100 if number == 1 else 0


def _cells(page: bytes, start: int, interior: bool) -> list[int]:
    """Where the rows of a page begin."""
    (count,) = struct.unpack_from(">H", page, start + 3)
    first = start + (12 if interior else 8)
    count = min(count, (len(page) - first) // 2)
    return [at for at in struct.unpack_from(f">{count}H", page, first) if first + 2 * count <= at < len(page)]


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for count in range(9):
        byte = content[at]
        at += 1
        if count == 8:
            value = value << 8 | byte
            break
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            break
    return value - (1 << 64) if value >= 1 << 63 else value, at
