"""Photos of the catalog as entities of a collection, and back."""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from search import background
from search.catalog import dismissals
from search.catalog.descriptions import TextLine, text_lines
from search.catalog.model_records import ModelRecord
from search.catalog.photo import Photo, photos_by_key
from search.catalog.tags import tags_of
from search.catalog.words import PhotoWords
from search.milvus.client import Row
from search.milvus.expressions import LONGEST_NAME, day_number, folder_text, name
from search.milvus.schema import FORM, LONGEST, MOST_APART
from search.milvus.texts import folded, lowered, one_word, running, safe, shortened, tokens
from search.vectors import stored
from search.vectors.protocol import Floats, Keys

_LIVE = """
SELECT photo_key FROM embeddings JOIN photos ON photos.key = photo_key
WHERE model_key = ? AND orphaned_at IS NULL ORDER BY photo_key
"""
_PART_SEPARATOR = "\U000f000a"  # what `safe` makes of a line's end, which no part has
_OF_PHOTO = (
    "bytes", "format", "camera", "lens", "latitude", "longitude", "kind", "caption", "caption_by", "added_at",
    "offline",
)  # fmt: skip


@dataclass(frozen=True)
class Described:
    """All that a collection says of one photo for people to see; `called` are names by which its tags are asked for,
    with the tags that they mean."""

    photo: Photo
    tags: list[tuple[str, float]]
    called: list[tuple[str, str]]
    text: list[TextLine]
    words: PhotoWords


class Entities:
    """The live photos that a model has embedded, in one state of the catalog.

    Attributes:
        keys: int64[n], sorted.
        levels: float32[n].
    """

    def __init__(self, connection: sqlite3.Connection, model: ModelRecord) -> None:
        """`connection` sees one state for as long as this is used (`one_state`)."""
        self._connection, self._model = connection, model
        rows = connection.execute(_LIVE, (model.key,))
        self.keys: Keys = np.fromiter(rows, dtype=[("key", np.int64)])["key"]
        self.levels: Floats = background.Levels.read(connection, model.key).of(self.keys)
        self._apart = dismissals.apart(connection)
        self._names: dict[str, list[str]] = {}
        for called, tag in connection.execute("SELECT name, tag FROM tag_names ORDER BY name"):
            self._names.setdefault(lowered(tag), []).append(called)

    def of(self, keys: Keys) -> Iterator[Row]:
        """The entities of some of the photos `keys`, int64[m], in the order of their keys."""
        connection, listed = self._connection, json.dumps(keys.tolist())
        photos = photos_by_key(connection, keys.tolist())
        levels = dict(zip(keys.tolist(), self.levels[np.searchsorted(self.keys, keys)].tolist(), strict=True))
        places, vectors = stored.of_photos(connection, self._model.key, keys, self._model.dimensions)
        embedded = dict(zip(keys[places].tolist(), vectors, strict=True))
        sort = dict(self._read(f"SELECT key, sort_at FROM photos WHERE key IN ({_LISTED})", listed))
        folders: dict[int, list[bytes]] = {}
        for key, folder in self._read(
            f"SELECT photo_key, folder FROM files WHERE photo_key IN ({_LISTED}) ORDER BY files.key", listed
        ):
            folders.setdefault(key, []).append(folder)
        said = self._words(listed)
        taken_apart = tokens.of([field for words in said.values() for field in words[:5]])
        rows = {key: taken_apart[5 * place : 5 * place + 5] for place, key in enumerate(said)}
        empty = PhotoWords._make(7 * ("",))
        for key in sorted(photos):
            if key in embedded:
                words = said.get(key, empty)
                yield self._entity(
                    photos[key], embedded[key], levels[key], sort[key], folders[key], words, rows.get(key, 5 * [[]])
                )

    def _entity(
        self,
        photo: Photo,
        vector: Floats,
        level: float,
        sort_at: str,
        folders: Sequence[bytes],
        words: PhotoWords,
        parts: Sequence[Sequence[str]],
    ) -> Row:
        own, caption, tag_words, text, names = parts
        tags = tags_of(self._connection, photo.key)
        direct = list(dict.fromkeys(one_word(tag) for tag, _ in tags))
        called = [(one, tag) for tag, _ in tags for one in self._names.get(lowered(tag), ())]
        lying = "".join(map(folder_text, dict.fromkeys(folders)))
        entity = {
            "id": photo.id,
            "level": level,
            "day": day_number(photo.taken_at),
            "sort_at": sort_at,
            "taken_at": photo.taken_at or "",
            "width": photo.width,
            "height": photo.height,
            "shape": int(np.sign(photo.width - photo.height)),
            "format": name(photo.format),
            "kind": name(photo.kind or ""),
            "camera": shortened(safe(lowered(photo.camera or "")), LONGEST_NAME),
            "folders": shortened(lying, LONGEST),
            "folders_lowered": shortened(lowered(lying), LONGEST),
            "tags": running([direct], LONGEST),
            "called": running([list(dict.fromkeys(direct + [one_word(one) for one, _ in called]))], LONGEST),
            "apart": sorted(self._apart.get(photo.key, ()))[:MOST_APART],
            "caption": shortened(photo.caption or "", LONGEST),
            "words": running([own, caption, tag_words, text, names], LONGEST),
            "said": running([own, caption, text, names], LONGEST),
            "written": running([own, text, names], LONGEST),
            "parts": shortened(f"{folded(words.text_parts)}{_PART_SEPARATOR}{folded(words.name_parts)}", LONGEST),
            "details": _details(photo, tags, called, text_lines(self._connection, photo.key), words),
        }
        digest = hashlib.blake2b(vector.tobytes(), digest_size=16)
        digest.update(f"{FORM} {json.dumps(entity)}".encode())
        return {"key": photo.key, **entity, "vector": vector, "digest": digest.hexdigest()}

    def _words(self, listed: str) -> dict[int, PhotoWords]:
        parts = {key: found for key, *found in self._read(f"SELECT rowid, text, name FROM parts {_IN}", listed)}
        return {
            key: PhotoWords._make((*found, *parts.get(key, ("", ""))))
            for key, *found in self._read(f"SELECT rowid, own, caption, tags, text, name FROM words {_IN}", listed)
        }

    def _read(self, sql: str, listed: str) -> Iterator[Any]:
        return self._connection.execute(sql, (listed,))


_LISTED = "SELECT value FROM json_each(?)"
_IN = f"WHERE rowid IN ({_LISTED})"


def described(row: Row) -> Described:
    """What an entity says of its photo; of it `DESCRIBING` are needed."""
    said = json.loads(row["details"])
    photo = Photo(
        id=row["id"],
        key=row["key"],
        paths=tuple(path.encode("utf-8", "surrogateescape") for path in said["paths"]),
        modified_ns=tuple(said["modified_ns"]),
        width=row["width"],
        height=row["height"],
        taken_at=row["taken_at"] or None,
        preview=base64.b64decode(said["preview"]) if said["preview"] else None,
        **{field: said[field] for field in _OF_PHOTO},
    )
    lines = [TextLine(text, (left, top, right, bottom), sure) for text, left, top, right, bottom, sure in said["text"]]
    tags = [(tag, score) for tag, score in said["tags"]]
    called = [(one, tag) for one, tag in said["called"]]
    return Described(photo, tags, called, lines, PhotoWords._make(said["words"]))


DESCRIBING = ("key", "id", "width", "height", "taken_at", "details")


def _details(
    photo: Photo,
    tags: Sequence[tuple[str, float]],
    called: Sequence[tuple[str, str]],
    lines: Sequence[TextLine],
    words: PhotoWords,
) -> str:
    """What is shown of a photo, as JSON in ASCII, which also carries paths that are no UTF-8. Where it is longer than
    Milvus takes, what was read in the picture is left out, and of texts and paths the ends."""
    document: dict[str, Any] = {field: getattr(photo, field) for field in _OF_PHOTO}
    document |= {
        "paths": [path.decode("utf-8", "surrogateescape") for path in photo.paths],
        "modified_ns": list(photo.modified_ns),
        "preview": None if photo.preview is None else base64.b64encode(photo.preview).decode(),
        "tags": [list(tag) for tag in tags],
        "called": [list(one) for one in called],
        "text": [[line.text, *line.box, line.confidence] for line in lines],
        "words": list(words),
    }
    if len(text := json.dumps(document)) <= LONGEST:
        return text
    document["text"] = document["called"] = []
    most = 4096
    while len(text := json.dumps(document)) > LONGEST:
        document["words"] = [field[:most] for field in document["words"]]
        document["caption"] = document["caption"] and document["caption"][:most]
        document["tags"] = document["tags"][:most]
        document["paths"], document["modified_ns"] = document["paths"][:most], document["modified_ns"][:most]
        most //= 2
    return text


assert {field.name for field in fields(Photo)} == {
    *_OF_PHOTO, "id", "key", "paths", "modified_ns", "width", "height", "taken_at", "preview",
}  # fmt: skip
