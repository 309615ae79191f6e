"""What was written about photos: captions, text found in pictures, and who looked for it when.

Each photo passes once through each stage (`captions`, `tags`, `text`) of the author that the home has chosen for it;
that it did, and how it failed, is kept, so that a stage goes on where it was stopped and no photo stops it twice.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from search.catalog import settings, words
from search.catalog.clock import now
from search.catalog.paths import join
from search.catalog.words import PERSON

CAPTIONS, TAGS, TEXT = "captions", "tags", "text"
"""The stages; in the home's settings, whether and by whom they are wanted."""
OFF = "off"
"""What stands there for a stage that is not wanted."""

_PENDING = """
SELECT photos.key, photos.id, folder, name, size, mtime_ns FROM photos JOIN files ON photo_key = photos.key
WHERE orphaned_at IS NULL AND NOT EXISTS
    (SELECT 1 FROM descriptions WHERE photo_key = photos.key AND stage = ? AND author = ?)
ORDER BY sort_at DESC, photos.key DESC, files.key
"""


class IndexedFile(NamedTuple):
    """A file as it was when it was indexed: one that has changed since may hold another picture."""

    path: bytes
    size: int
    mtime_ns: int


class PendingPhoto(NamedTuple):
    """A photo that a stage has not seen yet, and the files to read it from: the first of them may be away."""

    key: int
    id: str
    files: tuple[IndexedFile, ...]


@dataclass(frozen=True)
class TextLine:
    """A line of text in a picture.

    Attributes:
        box: left, top, right and bottom of what surrounds it, as fractions of the upright picture's width and height.
        confidence: the mean probability of its characters, 0 to 1.
    """

    text: str
    box: tuple[float, float, float, float]
    confidence: float


def pending(connection: sqlite3.Connection, stage: str, author: str) -> list[PendingPhoto]:
    """The live photos that `author` has not seen in this stage, the newest first: they are asked for most."""
    rows = connection.execute(_PENDING, (stage, author))
    return [
        PendingPhoto(
            key, identity, tuple(IndexedFile(join(folder, name), *known) for _, _, folder, name, *known in files)
        )
        for (key, identity), files in groupby(rows, key=itemgetter(0, 1))
    ]


def is_wanted(connection: sqlite3.Connection, stage: str) -> bool:
    """Whether the home wants this stage: tags always, captions unless they are switched off, text where it was asked
    for."""
    value = settings.get(connection, stage)
    return {CAPTIONS: value != OFF, TAGS: True, TEXT: value not in (None, OFF)}[stage]


def seen_by(connection: sqlite3.Connection, stage: str, author: str) -> None:
    """Keep who does a stage now, for `progress` and `failures`."""
    if settings.get(connection, f"{stage}_author") != author:
        settings.put(connection, f"{stage}_author", author)


def progress(connection: sqlite3.Connection, stage: str) -> dict[str, int]:
    """How many live photos the stage's present author has described, has failed on, and has not seen yet; for a stage
    that nobody wants none waits."""
    author = settings.get(connection, f"{stage}_author") or ""
    # Counted with the few orphans and then without: a join of all photos takes four times as long.
    counts = "SELECT count(*) - count(failure), count(failure) FROM"
    of_author = "stage = ? AND author = ?"
    described, failed = connection.execute(f"{counts} descriptions WHERE {of_author}", (stage, author)).fetchone()
    orphans = connection.execute(
        f"{counts} photos JOIN descriptions ON photo_key = key AND {of_author} WHERE orphaned_at IS NOT NULL",
        (stage, author),
    ).fetchone()
    described, failed = described - orphans[0], failed - orphans[1]
    (live,) = connection.execute("SELECT count(*) FROM photos WHERE orphaned_at IS NULL").fetchone()
    waiting = live - described - failed if is_wanted(connection, stage) else 0
    return {"described": described, "failed": failed, "waiting": waiting}


def try_again(connection: sqlite3.Connection, stage: str) -> None:
    """Let the photos that a stage has failed on wait for it again."""
    connection.execute("DELETE FROM descriptions WHERE stage = ? AND failure IS NOT NULL", (stage,))


def record(connection: sqlite3.Connection, photo_key: int, stage: str, author: str, failure: str | None = None) -> None:
    """Keep that `author` has seen the photo, and why nothing came of it where that is so."""
    connection.execute(
        "INSERT OR REPLACE INTO descriptions (photo_key, stage, author, written_at, failure) VALUES (?, ?, ?, ?, ?)",
        (photo_key, stage, author, now(), failure),
    )


def put_caption(connection: sqlite3.Connection, photo_key: int, author: str, text: str) -> None:
    """Keep a captioner's caption in place of any other's; a person's own stays beside it."""
    connection.execute("DELETE FROM captions WHERE photo_key = ? AND author NOT IN (?, ?)", (photo_key, PERSON, author))
    _put(connection, photo_key, author, text)


def put_own_caption(connection: sqlite3.Connection, photo_key: int, text: str) -> None:
    """Keep what a person says of the photo; an empty `text` takes it back."""
    if text:
        _put(connection, photo_key, PERSON, text)
    else:
        connection.execute("DELETE FROM captions WHERE photo_key = ? AND author = ?", (photo_key, PERSON))
    words.refresh(connection, [photo_key])


def hand_on_own_caption(connection: sqlite3.Connection, before: int, photo: int) -> None:
    """Say of `photo` what a person said of the one `before`, in whose file it now lies: another program has written a
    rating into it, or turned it. Nothing where that photo has other files, was taken at another time, or where a person
    has said something of the new one."""
    connection.execute(
        "INSERT OR IGNORE INTO captions (photo_key, author, text, written_at)"
        " SELECT new.key, author, text, written_at FROM captions"
        " JOIN photos AS old ON old.key = photo_key JOIN photos AS new ON new.key = ? AND new.taken_at IS old.taken_at"
        " WHERE photo_key = ? AND author = ? AND NOT EXISTS (SELECT 1 FROM files WHERE photo_key = old.key)",
        (photo, before, PERSON),
    )


def put_text(connection: sqlite3.Connection, photo_key: int, lines: Sequence[TextLine]) -> None:
    """Keep the text that was read in a picture, in reading order, in place of what was read before."""
    connection.execute("DELETE FROM texts WHERE photo_key = ?", (photo_key,))
    if lines:
        connection.execute(
            "INSERT INTO texts (photo_key, text, lines) VALUES (?, ?, ?)",
            (
                photo_key,
                "\n".join(line.text for line in lines),
                json.dumps([[line.text, *line.box, line.confidence] for line in lines], ensure_ascii=False),
            ),
        )


def text_lines(connection: sqlite3.Connection, photo_key: int) -> list[TextLine]:
    """The text that was read in the picture, in reading order."""
    row = connection.execute("SELECT lines FROM texts WHERE photo_key = ?", (photo_key,)).fetchone()
    return [
        TextLine(text, (left, top, right, bottom), confidence)
        for text, left, top, right, bottom, confidence in (json.loads(row[0]) if row else [])
    ]


def _put(connection: sqlite3.Connection, photo_key: int, author: str, text: str) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO captions (photo_key, author, text, written_at) VALUES (?, ?, ?, ?)",
        (photo_key, author, text, now()),
    )
