"""Thumbnails: small WebP pictures for the page, made when they are first looked at.

Indexing makes none: most photos of a large library are never scrolled to, and a thumbnail costs more time
than the embedding. They are derived files; any of them may be deleted at any time. Behind the picture each
has a checksum of it and of which one it is, so that one that is torn, damaged or another photo's is made anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import tempfile
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from PIL import Image

from indexer import files
from search import failpoints
from search.errors import PhotoError

if TYPE_CHECKING:
    from indexer.decoding.decoders import Decoders
    from search.home import Home

SIZES: Final = {"small": 320, "medium": 640, "large": 1600}
"""Names of the sizes, and the longest side in pixels. A photo that is smaller keeps its size."""

_QUALITY = 80
# libwebp's effort: 2 makes files a tenth smaller than 0 in half again the time (4.5 ms for a small one); 4
# saves only another fortieth, and takes twice as long as 2.
_METHOD = 2
_PHOTO_ID = re.compile(r"[0-9a-f]{8,64}")
_CHECKSUM = 16  # bytes
_MOST_BYTES = 16 * 2**20  # no thumbnail has as many, though it were noise

State = Literal["whole", "early", "damaged"]
"""What a kept thumbnail is: an `early` one was kept without a checksum by a version before."""


class KeptThumbnails:
    """The thumbnails that a home keeps."""

    SIZES = SIZES

    def __init__(self, home: Home) -> None:
        self._folder = home.thumbnails_dir

    def path_for(self, photo_id: str, size: str) -> Path:
        """Where the thumbnail lies, be it there or not. Raises `ValueError` for what is no id or size."""
        if not _PHOTO_ID.fullmatch(photo_id) or size not in SIZES:
            raise ValueError(f"there is no thumbnail {photo_id!r} of size {size!r}")
        return self._folder / photo_id[:2] / f"{photo_id}-{size}.webp"

    def kept(self, photo_id: str, size: str) -> bytes | None:
        """The thumbnail that was kept, or None where there is none that is whole and this photo's in this size."""
        try:
            return _without_checksum(self._content(photo_id, size), photo_id, size)
        except (OSError, PhotoError):
            return None

    def keep(self, photo_id: str, size: str, picture: bytes) -> None:
        """Keep a thumbnail that was made. Raises `OSError`."""
        _save(self.path_for(photo_id, size), picture + _checksum(picture, photo_id, size))

    def state(self, photo_id: str, size: str) -> State:
        """What the kept thumbnail is. Raises `OSError` where none can be read."""
        try:
            content = self._content(photo_id, size)
        except PhotoError:
            return "damaged"
        if _without_checksum(content, photo_id, size) is not None:
            return "whole"
        early = content[:4] == b"RIFF" and int.from_bytes(content[4:8], "little") + 8 == len(content)
        return "early" if early else "damaged"

    def _content(self, photo_id: str, size: str) -> bytes:
        """What lies in its place. Raises `OSError`, or `PhotoError` where that is no file or too large."""
        with files.opened(self.path_for(photo_id, size)) as (file, _):
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise PhotoError("it is no thumbnail")
        return content

    def remove(self, photo_id: str) -> None:
        """Forget a photo's thumbnails, and what an interrupted write may have left of them."""
        folder = self.path_for(photo_id, "small").parent
        with contextlib.suppress(OSError):
            for path in folder.glob(f"{photo_id}-*"):
                path.unlink(missing_ok=True)


class Thumbnails(KeptThumbnails):
    """The thumbnails of one home. Safe to use from several threads and processes."""

    def __init__(self, home: Home, decoders: Decoders) -> None:
        """`decoders` make those that are missing."""
        super().__init__(home)
        self._decoders = decoders
        self._making: dict[tuple[str, str], Future[bytes]] = {}
        self._lock = threading.Lock()

    def get_bytes(self, photo_id: str, source_path: str | bytes, size: str) -> bytes:
        """The thumbnail as a WebP file's content, made from `source_path` where it is missing or damaged.

        Keeping it for the next time is tried, not promised: on a full disk or a read-only home it is made
        anew at each call. Raises `PhotoError` when it must be made and the photo cannot be read; where that took
        long, at once for some minutes.
        """
        kept = self.kept(photo_id, size)
        if kept is not None:
            return kept
        with self._lock:
            making = self._making.get((photo_id, size))
            if making is None:
                mine = self._making[photo_id, size] = Future()
        if making is not None:
            return making.result()  # two requests for one thumbnail have it made once
        try:
            mine.set_result(self._made(photo_id, source_path, size))
        except BaseException as error:
            mine.set_exception(error)
        finally:
            with self._lock:
                del self._making[photo_id, size]
        return mine.result()

    def _made(self, photo_id: str, source_path: str | bytes, size: str) -> bytes:
        kept = self.kept(photo_id, size)  # another thread may have made it meanwhile
        if kept is not None:
            return kept
        # Of another picture, a kept thumbnail would show that under this id for good.
        with files.content_of(photo_id, source_path) as content, self._decoders.failures.trying(photo_id):
            made = self._decoders.thumbnail(content, SIZES[size])
        with contextlib.suppress(OSError):
            self.keep(photo_id, size, made)
        return made


def _without_checksum(content: bytes, photo_id: str, size: str) -> bytes | None:
    picture, checksum = content[:-_CHECKSUM], content[-_CHECKSUM:]
    return picture if checksum == _checksum(picture, photo_id, size) else None


def _checksum(picture: bytes, photo_id: str, size: str) -> bytes:
    named = hashlib.blake2b(f"{photo_id}-{size}".encode(), digest_size=_CHECKSUM).digest()
    return hashlib.blake2b(picture, digest_size=_CHECKSUM, key=named).digest()


def webp(image: Image.Image, longest: int) -> bytes:
    """The content of a WebP file of an upright RGB picture, brought to so many pixels on its longest side."""
    # Pillow's `thumbnail` never enlarges; the gap lets it halve large pictures cheaply before it filters.
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=3.0)
    content = io.BytesIO()
    # The photo's EXIF (place, time) must not travel in a picture that a page shows.
    image.save(content, "WEBP", quality=_QUALITY, method=_METHOD, exif=b"", icc_profile=b"", xmp=b"")
    return content.getvalue()


def _save(path: Path, content: bytes) -> None:
    """Write beside and rename, so that a reader sees the whole file or none. Raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number, beside = tempfile.mkstemp(prefix=f"{path.stem}.", suffix=".tmp", dir=path.parent)
    try:
        with open(number, "wb") as file:
            file.write(content)
        failpoints.reach("thumbnail written")
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
