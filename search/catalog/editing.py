"""What a person says of a photo, kept at once, whatever run is at work."""

from __future__ import annotations

import os
import sqlite3
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from search.catalog import descriptions, dismissals, paths
from search.catalog.connection import editing
from search.catalog.damage import damaged, is_damage
from search.catalog.photo import Photo, keys_of, photo_by_id, photos_by_key
from search.errors import CatalogError, SightlineError, UnknownPhotoError
from search.home import Home

LONGEST_CAPTION = 2000
"""Characters."""


def put_caption(home: Home, photo: str, text: str) -> Photo:
    """Keep `text` as a person's own caption of a photo, named by its id or by the path of a file of it; an empty one
    takes it back, and what a captioner wrote counts again. White space becomes single blanks; control characters and
    marks of direction go.

    Raises:
        UnknownPhotoError: no file of this index holds such a photo.
        SightlineError: the caption is too long.
        CatalogError: there is no index, or it cannot be written.
    """
    if len(text) > LONGEST_CAPTION:
        raise SightlineError(f"The caption has {len(text)} characters; at most {LONGEST_CAPTION} are kept.")
    said = " ".join(_visible(text).encode("utf-8", "replace").decode().split())
    with _failing(home, "The caption could not be kept"), editing(home) as connection:
        known = (photo_by_id(connection, photo) if photo.isalnum() else None) or _photo_at(connection, photo)
        if known is None:
            raise UnknownPhotoError(f"There is no photo {paths.display(os.fsencode(photo))} in this index.")
        descriptions.put_own_caption(connection, known.key, said)
        kept = photos_by_key(connection, [known.key])[known.key]
    return kept


def dismiss(home: Home, photos: Sequence[str]) -> int:
    """Keep that these photos, by their ids, are not duplicates of each other; returns of how many pairs that is new.

    Raises:
        UnknownPhotoError: no file of this index holds one of them; nothing is kept then.
        CatalogError: there is no index, or it cannot be written.
    """
    return _edit_dismissals(home, photos, dismissals.put)


def take_dismissal_back(home: Home, photos: Sequence[str]) -> int:
    """Undo `dismiss` for every pair of these photos; returns for how many it had been said. Raises what that raises."""
    return _edit_dismissals(home, photos, dismissals.take_back)


def _edit_dismissals(
    home: Home, photos: Sequence[str], edit: Callable[[sqlite3.Connection, Iterable[int]], int]
) -> int:
    with _failing(home, "What you said of these photos could not be kept"), editing(home) as connection:
        keys = keys_of(connection, photos)
        for photo in photos:
            if photo not in keys:
                raise UnknownPhotoError(f"There is no photo {photo} in this index.")
        pairs = edit(connection, keys.values())
    return pairs


@contextmanager
def _failing(home: Home, what: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise (damaged(home, error) if is_damage(error) else CatalogError(f"{what}: {error}.")) from error


def _visible(text: str) -> str:
    """Without what only steers the drawing, but for what joins letters and emoji or makes a flag."""
    kinds = ((character, unicodedata.category(character)) for character in text)
    return "".join(
        " " if kind == "Cc" else character
        for character, kind in kinds
        if kind != "Cf" or character in "\u200c\u200d" or "\U000e0020" <= character <= "\U000e007f"
    )


def _photo_at(connection: sqlite3.Connection, path: str) -> Photo | None:
    place = os.fsencode(path)
    if paths.is_remote(place):
        folder, _, name = place.rpartition(b"/")
    else:
        above, name = os.path.split(os.path.abspath(os.path.expanduser(place)))
        folder = os.path.realpath(above)
    row = connection.execute(
        "SELECT photo_key FROM files WHERE folder = ? AND name = ? AND photo_key IS NOT NULL", (folder, name)
    ).fetchone()
    return photos_by_key(connection, [row[0]]).get(row[0]) if row else None
