"""What a file says of the photo that it holds, which the catalog knows; and reading it again into the catalog."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from indexer.decoding.decoders import Decoders, measured
from indexer.files import held_file, photo_id
from indexer.pipeline import measures
from indexer.scan import FAILED_FOR_NOW, UNSETTLED, modified_ns
from indexer.verify.findings import Mending
from indexer.verify.merging import merge
from search.catalog.changes import NewPhoto
from search.catalog.paths import join
from search.errors import PhotoError
from search.models.preprocess import Preprocess

AS_IT_COMES = (FAILED_FOR_NOW, UNSETTLED)
"""Times of files whose content may be another than when they were indexed."""
_MEASURING = Preprocess((256, 256), "squash", "bicubic", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
"""Nobody wants the pixels that are made so; a JPEG is measured at no less than twice this size."""
_GROUP = 64  # photos
_HASH_DIGITS = 32
_FEW = 4  # digits: of a hash of another content nearly all differ


@dataclass(frozen=True)
class Held:
    """What a file holds.

    Attributes:
        id: the hash of its content, which is a photo's id.
        size, mtime_ns: of the file.
        photo: what the catalog should know of it; None where it is another photo than was looked for, or cannot be
            decoded now.
    """

    id: str
    size: int
    mtime_ns: int
    photo: NewPhoto | None


def decoders() -> Decoders:
    """Processes for all photos of a check; a photo that crashes one of them costs no more than itself."""
    return Decoders.of_process(os.cpu_count() or 2)


def held(path: bytes, identity: str, decoders: Decoders) -> Held | None:
    """What a file holds that is looked into for the photo `identity`; None where it cannot be read, or not with the
    memory that there is: that says nothing.

    Raises:
        DecodingError: no process can be started, or `decoders` were closed.
    """
    with contextlib.ExitStack() as stack:
        try:
            content, status = stack.enter_context(held_file(path))
        except (OSError, PhotoError, ValueError, MemoryError):
            return None
        found, photo = photo_id(content), None
        if is_nearly(identity, found):
            with decoders.worker() as worker:
                (one,) = measured(worker, [content], _MEASURING)
                if not isinstance(one, PhotoError):
                    photo = measures(found, status.st_size, modified_ns(status), one)
        return Held(found, status.st_size, modified_ns(status), photo)


def reread(mending: Mending, photo_keys: Iterable[int]) -> None:
    """Write anew what the catalog knows of these photos, of those of which a file is at hand."""
    keys = sorted(set(photo_keys))
    mending.progress.stage("facts", len(keys))
    with decoders() as some_decoders:
        for start in range(0, len(keys), _GROUP):
            some = keys[start : start + _GROUP]
            found = {key: _read_again(mending.connection, key, some_decoders) for key in some}
            with mending.transaction():
                for key, one in found.items():
                    if one is not None:
                        _put(mending.connection, key, one)
            mending.progress.advance(start + len(some), 0)


def _read_again(connection: sqlite3.Connection, photo_key: int, decoders: Decoders) -> NewPhoto | None:
    """What the photo's files say of it; None where none is at hand that holds it."""
    row = connection.execute("SELECT CAST(id AS BLOB) FROM photos WHERE key = ?", (photo_key,)).fetchone()
    identity = (row[0] if row and row[0] else b"").decode("ascii", "replace")
    rows = connection.execute(
        "SELECT folder, name, size, mtime_ns FROM files WHERE photo_key = ? ORDER BY key", (photo_key,)
    )
    for folder, name, *state in rows.fetchall():
        with contextlib.suppress(TypeError):  # of values that are no paths
            one = held(join(folder, name), identity, decoders)
            if one is None or one.photo is None:
                continue
            # Where nothing tells whose the id was, a file that was written since may hold another photo.
            if is_hash(identity) or state[1] in AS_IT_COMES or state == [one.size, one.mtime_ns]:
                return one.photo
    return None


def is_nearly(identity: str, found: str) -> bool:
    """Whether an id is the hash that was found, but for damage to the id: what it says of some digits, or all of it."""
    if not is_hash(identity):
        return True
    return sum(one != other for one, other in zip(identity, found, strict=True)) <= _FEW


def is_hash(identity: str) -> bool:
    """Whether an id is of the kind that photos have."""
    return len(identity) == _HASH_DIGITS and set(identity) <= set("0123456789abcdef")


def _put(connection: sqlite3.Connection, key: int, photo: NewPhoto) -> None:
    other = connection.execute("SELECT key FROM photos WHERE id = ? AND key <> ?", (photo.id, key)).fetchone()
    if other is not None:  # the photo is there under its own id, so that this is only a trace of it
        merge(connection, key, other[0])
        return
    preview, perceptual_hash = photo.look or (None, None)
    connection.execute(
        "UPDATE photos SET id = ?, width = ?, height = ?, format = ?, bytes = ?, taken_at = ?, sort_at = ?, camera = ?,"
        " lens = ?, latitude = ?, longitude = ?, flatness = ?, preview = ?, perceptual_hash = ? WHERE key = ?",
        (
            photo.id, photo.width, photo.height, photo.format, photo.bytes, photo.taken_at, photo.sort_at, photo.camera,
            photo.lens, photo.latitude, photo.longitude, photo.flatness, preview, perceptual_hash, key,
        ),
    )  # fmt: skip
