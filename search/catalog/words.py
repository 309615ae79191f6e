"""The words of each photo: a full-text index (FTS5) over captions, tags, text in the picture and file names."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from search.catalog import paths

FIELDS = ("caption", "tags", "text", "name")
OPEN, CLOSE = "\x02", "\x03"
"""What surrounds a matched word inside a snippet: control characters, which no indexed text contains."""
_WEIGHTS = "10.0, 5.0, 4.0, 2.0"
"""BM25 weights of the fields above: what a caption says tells more than what a file happens to be called."""


def refresh(connection: sqlite3.Connection, photo_keys: Iterable[int]) -> None:
    """Write anew the words of these photos from what the catalog says of them; an orphan has none."""
    for key in photo_keys:
        connection.execute("DELETE FROM words WHERE rowid = ?", (key,))
        names = [
            row[0] for row in connection.execute("SELECT name FROM files WHERE photo_key = ? ORDER BY key", (key,))
        ]
        if not names:
            continue
        captions = connection.execute("SELECT text FROM captions WHERE photo_key = ?", (key,)).fetchall()
        tags = connection.execute("SELECT tag FROM tags WHERE photo_key = ? ORDER BY score DESC", (key,)).fetchall()
        text = connection.execute("SELECT text FROM texts WHERE photo_key = ?", (key,)).fetchone()
        connection.execute(
            "INSERT INTO words (rowid, caption, tags, text, name) VALUES (?, ?, ?, ?, ?)",
            (
                key,
                _clean("\n".join(row[0] for row in captions)),
                _clean(", ".join(row[0] for row in tags)),
                _clean(text[0] if text else ""),
                _clean("\n".join(dict.fromkeys(paths.display(name) for name in names))),
            ),
        )


def ranked(connection: sqlite3.Connection, expression: str, condition: str, values: Sequence[object]) -> list[int]:
    """Keys of the photos that match an FTS5 `expression` and an SQL `condition` on photos, best first.

    The order is Okapi BM25, as FTS5 computes it, ties by key so that pages do not overlap.
    """
    rows = connection.execute(
        f"SELECT words.rowid FROM words JOIN photos ON photos.key = words.rowid WHERE words MATCH ? AND {condition}"
        f" ORDER BY bm25(words, {_WEIGHTS}), words.rowid",
        (expression, *values),
    )
    return [row[0] for row in rows]


def marked(
    connection: sqlite3.Connection, expression: str, photo_keys: Sequence[int]
) -> dict[int, list[tuple[str, str]]]:
    """For each photo that matches, the fields that match with a snippet in which matched words are marked."""
    columns = ", ".join(f"snippet(words, {i}, '{OPEN}', '{CLOSE}', '…', 16)" for i in range(len(FIELDS)))
    found: dict[int, list[tuple[str, str]]] = {}
    for key in photo_keys:
        row = connection.execute(
            f"SELECT {columns} FROM words WHERE words MATCH ? AND rowid = ?", (expression, int(key))
        ).fetchone()
        if row:
            found[key] = [(field, text) for field, text in zip(FIELDS, row, strict=True) if OPEN in text]
    return found


def _clean(text: str) -> str:
    return text.replace(OPEN, " ").replace(CLOSE, " ").replace("\x00", " ")
