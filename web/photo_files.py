"""A photo by its id, the file that still holds it, and its thumbnails."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import anyio.to_thread
from fastapi import Path as PathParameter
from fastapi.concurrency import run_in_threadpool

from indexer import files
from indexer.scan import modified_ns
from indexer.storage import storage_of
from indexer.thumbnails import Thumbnails
from search.catalog.paths import is_remote
from search.catalog.photo import Photo
from search.errors import PhotoError
from web.access import EngineAccess
from web.documents.document import PHOTO_ID
from web.documents.photos import Size
from web.problems import ProblemError, displayable
from web.uploads import Decoder

_ID = re.compile(r"[0-9a-f]{32}")
_UNSAFE_IN_NAMES = re.compile(r'[\x00-\x1f\x7f"\\/:*?<>|]')

PhotoId = Annotated[
    str,
    PathParameter(
        description="A photo's id: 32 hexadecimal digits.",
        examples=[PHOTO_ID],
        # Told to clients, not validated by the framework: a malformed id is an unknown one, so 404.
        json_schema_extra={"pattern": "^[0-9a-f]{32}$"},
    ),
]


def unknown_photo() -> ProblemError:
    """The problem of an id that names no photo."""
    return ProblemError(404, "No photo of the index has this id; it may have been removed since.")


def checked_id(photo_id: str) -> str:
    """`photo_id` if it may be one.

    Raises:
        ProblemError: 404 if it cannot be.
    """
    if _ID.fullmatch(photo_id) is None:
        raise unknown_photo()
    return photo_id


def find_file(photo: Photo) -> tuple[bytes, os.stat_result]:
    """A file that still holds the photo, and its state.

    Raises:
        ProblemError: 404 when none does.
    """
    for path, modified in zip(photo.paths, photo.modified_ns, strict=True):
        try:
            storage = storage_of(path)
            state = storage.status(path)
            if not stat.S_ISREG(state.st_mode) or state.st_size != photo.bytes or not storage.may_be_read(path):
                continue
            # One that was written since may hold another picture by now, which must not be shown under this id.
            if modified_ns(state) != modified:
                with files.held_file(path) as (content, _):
                    if files.photo_id(content) != photo.id:
                        continue
        except (OSError, PhotoError):
            continue
        return path, state
    raise ProblemError(
        404,
        "The file of this photo is not where it was indexed, or has changed. If its disk is absent, connect "
        "it; else run `sightline index`.",
    )


@contextlib.contextmanager
def at_hand(photo: Photo, path: bytes) -> Iterator[Path]:
    """The photo's file as one of this machine: itself, or a copy of what lies in an object storage, for as long as this
    is held. Raises `PhotoError` where that cannot be had, or is another photo by now."""
    if not is_remote(path):
        yield Path(os.fsdecode(path))
        return
    with tempfile.TemporaryDirectory(prefix="sightline-") as folder:
        copy = Path(folder) / "photo"
        with files.content_of(photo.id, path) as content:
            try:
                copy.write_bytes(content)
            except OSError as error:
                raise PhotoError(f"there is no room for a copy of it: {error.strerror or error}") from error
        yield copy


def safe_name(path: Path) -> str:
    """A file name to save under: the photo's own, without what means something to a shell or a header."""
    name = _UNSAFE_IN_NAMES.sub("_", displayable(path.name)).strip(". ")
    return name[-150:] or "photo"


def known_photo(access: EngineAccess, photo_id: str) -> Photo:
    """The photo with this id.

    Raises:
        ProblemError: 404 when the index has none.
    """
    photo = access.engine().photo(checked_id(photo_id))
    if photo is None:
        raise unknown_photo()
    return photo


async def thumbnail(thumbnails: Thumbnails, decoder: Decoder, photo: Photo, size: Size) -> bytes:
    """A thumbnail of the photo, WebP. One that was made is given even while the photo's own disk is absent.

    Raises:
        ProblemError: 404 when there is none and none can be made.
    """
    kept = await run_in_threadpool(thumbnails.kept, photo.id, size)
    if kept is not None:
        return kept

    def made() -> bytes:
        return thumbnails.get_bytes(photo.id, find_file(photo)[0], size)

    try:
        return await anyio.to_thread.run_sync(made, limiter=decoder.limiter)
    except PhotoError as error:
        raise ProblemError(404, f"There is no thumbnail of this photo: {error}.") from error
