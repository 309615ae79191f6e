"""Tags and kinds in the catalog: which photos have theirs, and writing them.

What is usual for each concept in a library, which its threshold rests on, is measured when the first photos are tagged
and again when the library has doubled; all photos are tagged anew then, as they are with another vocabulary or model.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from search.catalog import descriptions, words
from search.catalog.descriptions import TAGS
from search.catalog.model_records import embeddings, has_embedded_all
from search.kinds import Signals
from search.vectors import stored
from search.vectors.protocol import Floats
from search.vocabulary import Concept, implied


@dataclass(frozen=True)
class Calibration:
    """What is usual in a library.

    Attributes:
        vocabulary: the name of the vocabulary that it was measured with, and of how.
        photos: how many embeddings the library had.
        usual: float32[c], by concept (see `search.tagging`).
    """

    vocabulary: str
    photos: int
    usual: Floats

    @property
    def author(self) -> str:
        """Under which name photos that were tagged by it are recorded."""
        return f"{self.vocabulary}-{self.photos}"


@dataclass(frozen=True)
class UntaggedPhoto:
    """What tagging needs of a photo: its packed embedding, and what tells its kind."""

    key: int
    vector: bytes
    signals: Signals


def calibration(connection: sqlite3.Connection, model_key: int, vocabulary: str) -> Calibration | None:
    """What is usual in the library, or None where it must be measured: never was, was with another vocabulary, or when
    the library had less than half of its photos."""
    row = connection.execute(
        "SELECT vocabulary, photos, usual FROM calibrations WHERE model_key = ?", (model_key,)
    ).fetchone()
    if row is None or row[0] != vocabulary or embeddings(connection, model_key) > 2 * row[1]:
        return None
    return Calibration(vocabulary, row[1], np.frombuffer(row[2], "<f4"))


def put_calibration(connection: sqlite3.Connection, model_key: int, vocabulary: str, usual: Floats) -> Calibration:
    """Keep what is usual in the library as it is now."""
    photos = embeddings(connection, model_key)
    connection.execute(
        "INSERT OR REPLACE INTO calibrations (model_key, vocabulary, photos, usual) VALUES (?, ?, ?, ?)",
        (model_key, vocabulary, photos, usual.astype("<f4").tobytes()),
    )
    return Calibration(vocabulary, photos, usual)


def names(concepts: Sequence[Concept]) -> set[tuple[str, str]]:
    """Under which names tags are asked for: their own, their synonyms, and those of everything broader, so that
    whoever asks for animals is shown dogs."""
    return {
        (name.casefold(), concept.tag)
        for concept, above in zip(concepts, implied(concepts), strict=True)
        for one in (concept, *(concepts[place] for place in above))
        for name in one.words
    }


def put_names(connection: sqlite3.Connection, concepts: Sequence[Concept]) -> None:
    """Keep these names."""
    connection.execute("DELETE FROM tag_names")
    connection.executemany("INSERT OR IGNORE INTO tag_names (name, tag) VALUES (?, ?)", sorted(names(concepts)))


def kept_names(connection: sqlite3.Connection) -> set[tuple[str, str]]:
    """The names that are kept."""
    return set(connection.execute("SELECT name, tag FROM tag_names"))


def sample(connection: sqlite3.Connection, model_key: int, dimensions: int, photos: int) -> Floats:
    """At most about so many embeddings, evenly taken from those of the library: float32[n, d]."""
    step = max(1, -(-embeddings(connection, model_key) // photos))
    rows = connection.execute(
        "SELECT vector FROM embeddings WHERE model_key = ? AND key % ? = 0 ORDER BY key", (model_key, step)
    ).fetchall()
    return stored.unpack([row[0] for row in rows], dimensions)


def untagged(connection: sqlite3.Connection, model_key: int, author: str | None) -> int:
    """How many photos with an embedding `author` has not tagged; all where there is none."""
    total = embeddings(connection, model_key)
    if author is None:
        return total
    if has_embedded_all(connection, model_key):  # then those that are tagged are among them
        sql = "SELECT count(*) FROM descriptions WHERE stage = ? AND author = ?"
        return max(0, total - int(connection.execute(sql, (TAGS, author)).fetchone()[0]))
    sql = f"SELECT count(*) FROM embeddings WHERE model_key = ? AND {_NOT_BY_AUTHOR}"
    return int(connection.execute(sql, (model_key, TAGS, author)).fetchone()[0])


def next_untagged(
    connection: sqlite3.Connection, model_key: int, author: str, after: int, limit: int
) -> tuple[list[UntaggedPhoto], int]:
    """The next photos that `author` has not tagged, behind embedding number `after`, and the number of the last."""
    rows = connection.execute(
        "SELECT embeddings.key, photos.key, vector, width, height, format, camera, flatness FROM embeddings"
        " JOIN photos ON photos.key = photo_key"
        f" WHERE +model_key = ? AND embeddings.key > ? AND {_NOT_BY_AUTHOR} ORDER BY embeddings.key LIMIT ?",
        (model_key, after, TAGS, author, limit),
    ).fetchall()
    return [UntaggedPhoto(row[1], row[2], Signals(*row[3:])) for row in rows], rows[-1][0] if rows else after


def put_tags(connection: sqlite3.Connection, author: str, tags: Mapping[int, Sequence[tuple[str, float]]]) -> None:
    """Keep each photo's tags with their scores in place of those before, and that `author` has tagged it; where tags
    are others than before, the photo's words are written anew."""
    listed = json.dumps(list(tags))
    before: dict[int, list[tuple[str, float]]] = {key: [] for key in tags}
    for key, tag, score in connection.execute(
        "SELECT photo_key, tag, score FROM tags WHERE photo_key IN (SELECT value FROM json_each(?))", (listed,)
    ):
        before[key].append((tag, score))
    now = {key: sorted(((tag, round(score, 3)) for tag, score in found), key=_order) for key, found in tags.items()}
    changed = [key for key, found in now.items() if found != sorted(before[key], key=_order)]
    connection.executemany("DELETE FROM tags WHERE photo_key = ?", [(key,) for key in changed])
    connection.executemany(
        "INSERT INTO tags (photo_key, tag, score) VALUES (?, ?, ?)",
        [(key, tag, score) for key in changed for tag, score in now[key]],
    )
    for key in tags:
        descriptions.record(connection, key, TAGS, author)
    renamed = [key for key in changed if {tag for tag, _ in now[key]} != {tag for tag, _ in before[key]}]
    words.refresh_tags(connection, renamed)


def tags_of(connection: sqlite3.Connection, photo_key: int) -> list[tuple[str, float]]:
    """The tags of a photo with their scores, 0 to 1, best first."""
    return connection.execute(
        "SELECT tag, score FROM tags WHERE photo_key = ? ORDER BY score DESC, tag", (photo_key,)
    ).fetchall()


def put_kinds(connection: sqlite3.Connection, kinds: Mapping[int, str]) -> None:
    """Keep what kinds of pictures the photos are."""
    sql = "UPDATE photos SET kind = ? WHERE key = ? AND kind IS NOT ?"
    connection.executemany(sql, [(kind, key, kind) for key, kind in kinds.items()])


_NOT_BY_AUTHOR = (
    "NOT EXISTS (SELECT 1 FROM descriptions WHERE descriptions.photo_key = embeddings.photo_key"
    " AND stage = ? AND author = ?)"
)


def _order(tag: tuple[str, float]) -> tuple[float, str]:
    return -tag[1], tag[0]
