"""Files of photos, as they are read: regular ones alone, as a whole, and of large ones few at a time."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Iterator
from typing import BinaryIO

from indexer.formats import recognise
from indexer.pixels import DecodingRoom, free_memory
from indexer.storage import storage_of
from search.errors import FileChangedError, PhotoError

MAX_BYTES = 2**30
"""No photo file is larger; a file is read as a whole, so this bounds memory."""
LARGE = 32 * 2**20
"""Bytes; of files that have more, few are in memory at a time, and none that are no photos."""
_SHARE = 8  # of the memory that is free, for their contents
HEAD = 64
"""Bytes in which a format is recognised."""


def opened(path: str | bytes | os.PathLike[str]) -> contextlib.AbstractContextManager[tuple[BinaryIO, os.stat_result]]:
    """A regular file, open to be read, and its state before that. Raises `PhotoError` where it is none, `OSError` where
    it cannot be opened."""
    place = os.fsencode(path)
    return storage_of(place).opened(place)


def whole_file(path: str | bytes | os.PathLike[str]) -> tuple[bytes, os.stat_result]:
    """A regular file's content, and its state.

    Raises `PhotoError` where there is none or it is too large for a photo, `FileChangedError` where it was written to
    meanwhile, `OSError` where it cannot be read.
    """
    with opened(path) as (stream, status):
        return _content(path, stream, status), status


@contextlib.contextmanager
def held_file(path: str | bytes | os.PathLike[str]) -> Iterator[tuple[bytes, os.stat_result]]:
    """What `whole_file` gives, and raises, with room for it in memory as long as this is held. For whoever reads files
    side by side; not to be asked for while another is held."""
    with opened(path) as (stream, status), room_for_file(min(status.st_size, MAX_BYTES)):
        yield _content(path, stream, status), status


def _content(path: str | bytes | os.PathLike[str], stream: BinaryIO, status: os.stat_result) -> bytes:
    if status.st_size > MAX_BYTES:
        raise PhotoError(f"it has {status.st_size / 2**30:.1f} GiB, more than a photo has")
    content = stream.read(status.st_size)
    after = storage_of(os.fsencode(path)).status_of(stream)
    if (len(content), after.st_size, after.st_mtime_ns) != (status.st_size, status.st_size, status.st_mtime_ns):
        raise FileChangedError("it was written to while it was read")
    return content


def check_head(stream: BinaryIO) -> None:
    """Raise `PhotoError` where a file's first bytes are no photo's; they are read again by whoever reads on."""
    recognise(stream.read(HEAD))
    stream.seek(0)


def room_for_file(size: int) -> contextlib.AbstractContextManager[None]:
    """Hold memory for the content of a file of so many bytes, which large ones share: one waits until it fits in beside
    the others. Not to be asked for while another is held."""
    return _file_room().taken(size) if size > LARGE else contextlib.nullcontext()


@functools.cache
def _file_room() -> DecodingRoom:
    return DecodingRoom(max(2 * LARGE, free_memory() // _SHARE))


def photo_id(content: bytes) -> str:
    """The name of the photo that a file with this content holds: its BLAKE2b hash, 32 hexadecimal digits."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def file_content(path: str | bytes | os.PathLike[str]) -> bytes:
    """A file's content. Raises `PhotoError`, and nothing else, where it cannot be had."""
    try:
        return whole_file(path)[0]
    except (OSError, ValueError) as error:
        raise _unopened(error) from error


@contextlib.contextmanager
def content_of(identity: str, path: str | bytes | os.PathLike[str]) -> Iterator[bytes]:
    """The content of a file that holds the photo `identity`; meanwhile there is room for it if it is large.

    Raises `PhotoError` where it holds another by now, or cannot be read.
    """
    with contextlib.ExitStack() as stack:
        try:
            content, _ = stack.enter_context(held_file(path))
        except (OSError, ValueError) as error:
            raise _unopened(error) from error
        if photo_id(content) != identity:
            raise PhotoError("its file has changed since it was indexed; run `sightline index`")
        yield content


def _unopened(error: Exception) -> PhotoError:
    reason = getattr(error, "strerror", None) or "its name is not valid"
    return PhotoError(f"it cannot be opened: {reason[0].lower()}{reason[1:]}")
