"""How a process that decodes is spoken to: messages through pipes, and pixels through memory that both sides map.

A message is its length, a document in JSON, and buffers: photos on their way there, pixels on their way back. Buffers
lie in the shared memory where there is room, and else follow the document through the pipe; so nothing depends on
shared memory, but it saves time. What a decoder of hostile files sends back is taken as such: nothing of it is
unpickled, and no length is believed that is out of bounds.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
from collections.abc import Sequence
from typing import Any, BinaryIO, Protocol, Self

EXCHANGE_BYTES = 64 * 2**20
"""Of the memory that both sides map; pages of it that were never used take none."""
_BEGIN = 64  # what lies before is the mark
_LENGTH = struct.Struct("<I")
_MARK = struct.Struct("<I")
_MOST_TEXT = 2**24
_MOST_BYTES = 2**32

Buffer = bytes | memoryview


class BrokenMessageError(Exception):
    """What came is no message: the other side is gone, or has lost its mind."""


class Sink(Protocol):
    """What bytes are written to, not necessarily all of them at once."""

    def write(self, data: Buffer, /) -> int | None:
        """Write some of `data`, and say how many bytes."""


class Exchange:
    """The memory that both sides map.

    Attributes:
        memory: all of it.
    """

    def __init__(self, descriptor: int) -> None:
        """Map the file `descriptor`, which may be closed afterwards."""
        self.memory = memoryview(mmap.mmap(descriptor, EXCHANGE_BYTES))

    @classmethod
    def create(cls) -> tuple[Self, int] | None:
        """New memory and the descriptor by which another process maps it, to be closed; None where the platform has
        none (that takes no place on a disk, nor counts to what a container allows of /dev/shm), or no room for it."""
        try:
            import fcntl

            descriptor = os.memfd_create("sightline", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        except (ImportError, AttributeError, OSError):
            return None
        try:
            os.ftruncate(descriptor, EXCHANGE_BYTES)
            # Were it cut by one side, the other would die of its next look.
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
            return cls(descriptor), descriptor
        except (AttributeError, OSError):
            os.close(descriptor)
            return None

    @property
    def mark(self) -> int:
        """The photo that is at work, counted from 1; 0 before the first and after the last."""
        return int(_MARK.unpack_from(self.memory)[0])

    @mark.setter
    def mark(self, number: int) -> None:
        _MARK.pack_into(self.memory, 0, number)


class Channel:
    """One side's end of the pipes. Not to be used by two threads in the same direction.

    Attributes:
        end: where in the shared memory what was received last ends.
    """

    def __init__(self, source: BinaryIO, sink: Sink, exchange: Exchange | None) -> None:
        """`source` is read from, `sink` written to."""
        self._source = source
        self._sink = sink
        self._memory = None if exchange is None else exchange.memory
        self.end = _BEGIN

    def send(self, document: dict[str, Any], buffers: Sequence[Buffer] = (), begin: int = _BEGIN) -> None:
        """Send a message; from `begin` on the shared memory is overwritten by its buffers.

        Raises:
            OSError: the other side is gone.
        """
        places: list[tuple[int, int]] = []
        through_pipe: list[Buffer] = []
        at = begin
        for buffer in buffers:
            size = len(buffer)
            if self._memory is not None and at + size <= EXCHANGE_BYTES:
                self._memory[at : at + size] = buffer
                places.append((at, size))
                at += size
            else:
                places.append((0, size))
                through_pipe.append(buffer)
        text = json.dumps({**document, "buffers": places}).encode("ascii")
        for part in (_LENGTH.pack(len(text)) + text, *through_pipe):
            left = memoryview(part)
            while left:
                left = left[self._sink.write(left) or 0 :]

    def receive(self) -> tuple[dict[str, Any], list[Buffer]]:
        """The next message. Buffers in shared memory are views, good until the other side sends there again.

        Raises:
            BrokenMessageError: there is none.
        """
        try:
            (length,) = _LENGTH.unpack(self._read(_LENGTH.size, _LENGTH.size))
            document = json.loads(self._read(length, _MOST_TEXT))
            places = document.pop("buffers")
            buffers = [self._buffer(int(at), int(size)) for at, size in places]
        except (OSError, ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError) as error:
            raise BrokenMessageError from error
        self.end = max([_BEGIN, *(at + size for at, size in places if at)])
        return document, buffers

    def _buffer(self, at: int, size: int) -> Buffer:
        if at == 0:
            return self._read(size, _MOST_BYTES)
        if self._memory is None or not (_BEGIN <= at <= at + size <= EXCHANGE_BYTES):
            raise BrokenMessageError
        return self._memory[at : at + size]

    def _read(self, size: int, most: int) -> bytes:
        if not 0 <= size <= most:
            raise BrokenMessageError
        data = self._source.read(size)
        if len(data) < size:
            raise BrokenMessageError
        return data
