"""Every change that indexing makes to the catalog; the caller wraps them in transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from search.catalog import settings, words
from search.catalog.clock import now
from search.catalog.paths import is_within

GRACE = timedelta(days=30)
"""How long a photo without a file keeps its embedding and captions, so that one that comes back costs nothing."""


class Look(NamedTuple):
    """What is kept of how a photo looks.

    Attributes:
        preview: RGB of 4 x 3 pixels, rows from the top, 36 bytes.
        perceptual_hash: 63 bits that hardly differ where pictures look the same; 0 where it is too even to tell.
    """

    preview: bytes
    perceptual_hash: int


@dataclass(frozen=True)
class NewPhoto:
    """What indexing learned of a photo's content; see `Photo` for the fields.

    Attributes:
        sort_at: what photos are ordered by date by.
        flatness: the share of it, 0 to 1, that is of one colour with what lies beside it.
        look: what is kept of its look.
    """

    id: str
    width: int
    height: int
    format: str
    bytes: int
    taken_at: str | None
    sort_at: str
    camera: str | None
    lens: str | None
    latitude: float | None
    longitude: float | None
    flatness: float | None = None
    look: Look | None = None


def add_library(connection: sqlite3.Connection, root: bytes) -> int:
    """The key of the library that `root` (absolute) belongs to, made where there is none.

    A folder inside a library belongs to it; a folder that holds libraries takes them over.
    """
    libraries = connection.execute("SELECT key, path FROM libraries").fetchall()
    for key, path in libraries:
        if is_within(root, path):
            return int(key)
    key = int(
        connection.execute(
            "INSERT INTO libraries (path, added_at) VALUES (?, ?) RETURNING key", (root, now())
        ).fetchone()[0]
    )
    for inner, path in libraries:
        if is_within(path, root):
            connection.execute("UPDATE files SET library_key = ? WHERE library_key = ?", (key, inner))
            connection.execute("DELETE FROM libraries WHERE key = ?", (inner,))
    return key


def put_photo(connection: sqlite3.Connection, photo: NewPhoto) -> int:
    """The key of the photo, recorded if it is new and brought back if it was an orphan."""
    return int(
        connection.execute(
            "INSERT INTO photos (id, width, height, format, bytes, taken_at, sort_at, camera, lens, latitude,"
            " longitude, flatness, preview, perceptual_hash, added_at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
            " ON CONFLICT (id) DO UPDATE SET orphaned_at = NULL, flatness = coalesce(flatness, excluded.flatness),"
            " preview = coalesce(preview, excluded.preview),"
            " perceptual_hash = coalesce(perceptual_hash, excluded.perceptual_hash)"
            " RETURNING key",
            (
                photo.id, photo.width, photo.height, photo.format, photo.bytes, photo.taken_at, photo.sort_at,
                photo.camera, photo.lens, photo.latitude, photo.longitude, photo.flatness,
                *(photo.look or (None, None)), now(),
            ),
        ).fetchone()[0]
    )  # fmt: skip


def without_look(connection: sqlite3.Connection) -> set[int]:
    """The photos of which no look is kept: an earlier version indexed them."""
    return {row[0] for row in connection.execute("SELECT key FROM photos WHERE perceptual_hash IS NULL")}


def put_look(connection: sqlite3.Connection, photo_key: int, look: Look) -> None:
    """Keep how a photo looks."""
    connection.execute("UPDATE photos SET preview = ?, perceptual_hash = ? WHERE key = ?", (*look, photo_key))


def bring_back(connection: sqlite3.Connection, photo_key: int) -> None:
    """A file holds the photo again (or still)."""
    connection.execute("UPDATE photos SET orphaned_at = NULL WHERE key = ? AND orphaned_at IS NOT NULL", (photo_key,))


def put_file(
    connection: sqlite3.Connection,
    *,
    library_key: int,
    folder: bytes,
    name: bytes,
    size: int,
    mtime_ns: int,
    photo_key: int | None = None,
    failure: str | None = None,
) -> None:
    """Record that the file holds the photo, or that it could not be read and why."""
    connection.execute(
        "INSERT INTO files (library_key, folder, name, size, mtime_ns, photo_key, failure) VALUES (?,?,?,?,?,?,?)"
        " ON CONFLICT (folder, name) DO UPDATE SET library_key = excluded.library_key, size = excluded.size,"
        " mtime_ns = excluded.mtime_ns, photo_key = excluded.photo_key, failure = excluded.failure, missing_at = NULL",
        (library_key, folder, name, size, mtime_ns, photo_key, failure),
    )


def forget_file(connection: sqlite3.Connection, key: int, folder: bytes, name: bytes) -> int | None:
    """Forget a file that has gone from this place; returns the photo it held. One that was moved meanwhile stays."""
    row = connection.execute(
        "DELETE FROM files WHERE key = ? AND folder = ? AND name = ? RETURNING photo_key", (key, folder, name)
    ).fetchone()
    return row[0] if row else None


def put_offline(connection: sqlite3.Connection, root: bytes, sentence: str | None) -> None:
    """Say why the library at `root` is away; None: it is there."""
    changed = connection.execute(
        "UPDATE libraries SET offline = ? WHERE path = ? AND offline IS NOT ?", (sentence, root, sentence)
    )
    if changed.rowcount:
        settings.grow_revision(connection)


def missing(connection: sqlite3.Connection, library_key: int) -> set[int]:
    """The keys of the missing files of a library."""
    rows = connection.execute("SELECT key FROM files WHERE library_key = ? AND missing_at IS NOT NULL", (library_key,))
    return {row[0] for row in rows}


def mark_missing(connection: sqlite3.Connection, file_keys: Iterable[int]) -> None:
    """These files are not where they were, and are not given up."""
    connection.executemany(
        "UPDATE files SET missing_at = ? WHERE key = ? AND missing_at IS NULL", [(now(), key) for key in file_keys]
    )


def mark_found(connection: sqlite3.Connection, file_keys: Iterable[int]) -> None:
    """These files are where they were."""
    keys = [(key,) for key in file_keys]
    connection.executemany("UPDATE files SET missing_at = NULL WHERE key = ?", keys)
    if keys:
        settings.grow_revision(connection)


def mark_orphans(connection: sqlite3.Connection, photo_keys: Iterable[int]) -> None:
    """Those of the photos that no file holds any more leave every answer with this commit; their words go too."""
    keys = list(photo_keys)
    # A clock that is behind would make them look as if they had been gone for long.
    last = connection.execute("SELECT max(started_at) FROM jobs").fetchone()[0] or ""
    connection.executemany(
        "UPDATE photos SET orphaned_at = ? WHERE key = ? AND orphaned_at IS NULL"
        " AND NOT EXISTS (SELECT 1 FROM files WHERE photo_key = photos.key)",
        [(max(now(), last), key) for key in keys],
    )
    words.refresh(connection, keys)


def purge_orphans(connection: sqlite3.Connection, grace: timedelta = GRACE) -> list[str]:
    """Delete what is known of photos that have been orphans for as long as `grace`; returns their ids."""
    limit = (datetime.fromisoformat(now()) - grace).isoformat(timespec="seconds")
    rows = connection.execute("DELETE FROM photos WHERE orphaned_at < ? RETURNING id", (limit,)).fetchall()
    return [row[0] for row in rows]


def put_embedding(connection: sqlite3.Connection, model_key: int, photo_key: int, vector: bytes) -> None:
    """Keep a photo's packed embedding; the first one stays, since equal content has equal embeddings."""
    connection.execute(
        "INSERT INTO embeddings (model_key, photo_key, vector) VALUES (?, ?, ?)"
        " ON CONFLICT (model_key, photo_key) DO NOTHING",
        (model_key, photo_key, vector),
    )


def embedded_photo(connection: sqlite3.Connection, model_key: int, photo_id: str) -> int | None:
    """The key of the photo with this id if the model has embedded it, orphans included; else None."""
    row = connection.execute(
        "SELECT photos.key FROM photos JOIN embeddings ON photo_key = photos.key WHERE id = ? AND model_key = ?",
        (photo_id, model_key),
    ).fetchone()
    return int(row[0]) if row else None
