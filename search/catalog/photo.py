"""What the catalog knows of a photo, as one value."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from search.catalog import paths

Preview = bytes
"""A photo as RGB of 4 x 3 pixels, rows from the top."""


@dataclass(frozen=True)
class Photo:
    """A picture's content, wherever it lies.

    Attributes:
        id: hash of the file's bytes, 32 hexadecimal digits; the name by which the world knows the photo.
        key: the catalog's own number for it, and its id in the vector index.
        paths: every file that holds it, as the bytes that the file system uses; those that are there come first.
        modified_ns: when each of these files was last written, as it was when it was indexed.
        width, height: pixels, upright.
        taken_at: ISO 8601, with the offset where the camera wrote one.
        kind: `photo`, `screenshot`, `document` or `drawing`; None before it was tagged.
        caption, caption_by: what is said of it, and who says it: `you`, or a captioner's name.
        preview: None where an earlier version indexed it.
        offline: no file of it was there when its library was last looked through.
    """

    id: str
    key: int
    paths: tuple[bytes, ...]
    modified_ns: tuple[int, ...]
    width: int
    height: int
    format: str
    bytes: int
    taken_at: str | None
    camera: str | None
    lens: str | None
    latitude: float | None
    longitude: float | None
    kind: str | None
    caption: str | None
    caption_by: str | None
    added_at: str
    preview: Preview | None
    offline: bool

    @property
    def path(self) -> str:
        """The first of its paths, for people to read."""
        return paths.display(self.paths[0])


_PHOTOS = """
SELECT id, key, width, height, format, bytes, taken_at, camera, lens, latitude, longitude, kind, added_at,
    preview, text, author
FROM photos LEFT JOIN captions ON photo_key = key AND author =
    (SELECT author FROM captions WHERE photo_key = photos.key ORDER BY author = 'you' DESC, written_at DESC LIMIT 1)
WHERE orphaned_at IS NULL AND key IN (SELECT value FROM json_each(?))
"""


def photos_by_key(connection: sqlite3.Connection, keys: Sequence[int]) -> dict[int, Photo]:
    """The live photos among `keys`; a photo whose last file has gone is not among them."""
    listed = json.dumps([int(key) for key in keys])
    places: dict[int, list[_Place]] = {}
    for key, folder, name, modified, away in connection.execute(
        "SELECT photo_key, folder, name, mtime_ns, missing_at IS NOT NULL OR offline IS NOT NULL AS away FROM files"
        " JOIN libraries ON libraries.key = library_key"
        " WHERE photo_key IN (SELECT value FROM json_each(?)) ORDER BY away, files.key",
        (listed,),
    ):
        places.setdefault(key, []).append(_Place(paths.join(folder, name), modified, bool(away)))
    return {row[1]: _photo(row, places[row[1]]) for row in connection.execute(_PHOTOS, (listed,)) if row[1] in places}


def live_ids(connection: sqlite3.Connection, keys: Sequence[int]) -> dict[int, str]:
    """The ids of the live photos among `keys`."""
    return dict(
        connection.execute(
            "SELECT key, id FROM photos WHERE orphaned_at IS NULL AND key IN (SELECT value FROM json_each(?))"
            " AND EXISTS (SELECT 1 FROM files WHERE photo_key = photos.key)",
            (json.dumps([int(key) for key in keys]),),
        )
    )


def keys_of(connection: sqlite3.Connection, photo_ids: Sequence[str]) -> dict[str, int]:
    """The keys of the live photos among those with these ids."""
    return dict(
        connection.execute(
            "SELECT id, key FROM photos WHERE orphaned_at IS NULL AND id IN (SELECT value FROM json_each(?))"
            " AND EXISTS (SELECT 1 FROM files WHERE photo_key = photos.key)",
            (json.dumps(list(photo_ids)),),
        )
    )


def photo_by_id(connection: sqlite3.Connection, photo_id: str) -> Photo | None:
    """The live photo with this id, or None."""
    row = connection.execute("SELECT key FROM photos WHERE id = ?", (photo_id,)).fetchone()
    return photos_by_key(connection, [row[0]]).get(row[0]) if row else None


class _Place(NamedTuple):
    path: bytes
    modified_ns: int
    away: bool


def _photo(row: tuple[Any, ...], places: Sequence[_Place]) -> Photo:
    identity, key, width, height, form, size, taken_at, camera, lens, latitude, longitude, kind, *rest = row
    added_at, preview, caption, author = rest
    return Photo(
        id=identity,
        key=key,
        paths=tuple(place.path for place in places),
        modified_ns=tuple(place.modified_ns for place in places),
        width=width,
        height=height,
        format=form,
        bytes=size,
        taken_at=taken_at,
        camera=camera,
        lens=lens,
        latitude=latitude,
        longitude=longitude,
        kind=kind,
        caption=caption,
        caption_by=author,
        added_at=added_at,
        preview=preview,
        offline=all(place.away for place in places),
    )
