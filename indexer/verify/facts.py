"""What the catalog knows of a photo, read again from a file that holds it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable

from indexer.pipeline import measures
from indexer.read import decode, photo_id, whole_file
from indexer.scan import FAILED_FOR_NOW, UNSETTLED, modified_ns
from indexer.verify.findings import Mending
from indexer.verify.merging import merge
from search.catalog.changes import NewPhoto
from search.catalog.paths import join
from search.errors import PhotoError

_DRAFT = (512, 512)
_GROUP = 64  # photos
_HASH_DIGITS = 32
_FEW = 4  # digits: of a hash of another content nearly all differ


def reread(mending: Mending, photo_keys: Iterable[int]) -> None:
    """Write anew what the catalog knows of these photos, of those of which a file is at hand."""
    keys = sorted(set(photo_keys))
    mending.progress.stage("facts", len(keys))
    for start in range(0, len(keys), _GROUP):
        some = keys[start : start + _GROUP]
        found = {key: read_again(mending.connection, key) for key in some}
        with mending.transaction():
            for key, one in found.items():
                if one is not None:
                    _put(mending.connection, key, one)
        mending.progress.advance(start + len(some), 0)


def read_again(connection: sqlite3.Connection, photo_key: int) -> NewPhoto | None:
    """What the photo's files say of it; None where none is at hand that holds it."""
    row = connection.execute("SELECT CAST(id AS BLOB) FROM photos WHERE key = ?", (photo_key,)).fetchone()
    identity = (row[0] if row and row[0] else b"").decode("ascii", "replace")
    rows = connection.execute(
        "SELECT folder, name, size, mtime_ns FROM files WHERE photo_key = ? ORDER BY key", (photo_key,)
    )
    for folder, name, size, mtime_ns in rows.fetchall():
        with contextlib.suppress(OSError, PhotoError, TypeError, ValueError):
            content, status = whole_file(join(folder, name))
            found = photo_id(content)
            # Where nothing tells whose the id was, a file that was written since may hold another photo.
            same = mtime_ns in (FAILED_FOR_NOW, UNSETTLED) or (size, mtime_ns) == (
                status.st_size,
                modified_ns(status),
            )
            if is_nearly(identity, found) and (same or is_hash(identity)):
                decoded = decode(content, draft=_DRAFT)
                return measures(found, status.st_size, modified_ns(status), decoded)
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
