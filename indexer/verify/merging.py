"""Two rows of one photo, of which one is only a trace of it, are made one."""

from __future__ import annotations

import sqlite3

from search.catalog import descriptions, dismissals, words
from search.catalog.descriptions import CAPTIONS, TAGS, TEXT
from search.catalog.words import PERSON

_DESCRIBED = {CAPTIONS: "captions", TAGS: "tags", TEXT: "texts"}
_NOT_SAID = {"captions": f" AND author <> '{PERSON}'"}


def merge(connection: sqlite3.Connection, trace: int, photo: int) -> None:
    """Let all that is known of `trace` be known of `photo`, which keeps what it has itself, and delete the trace; both
    are keys. What a person has said of either is kept."""
    connection.execute("UPDATE files SET photo_key = ? WHERE photo_key = ?", (photo, trace))
    connection.execute("UPDATE photos SET orphaned_at = NULL WHERE key = ?", (photo,))
    _move_own_caption(connection, trace, photo)
    _move_dismissals(connection, trace, photo)
    for stage, table in _DESCRIBED.items():
        _move_described(connection, trace, photo, stage, table)
    connection.execute("DELETE FROM photos WHERE key = ?", (trace,))
    for table in ("captions", "dismissals", "descriptions", "tags", "texts", "embeddings", "levels"):
        # Where the trace had no row of its own, there is none whose deletion would take these along.
        own = "? IN (photo_key, other_key)" if table == "dismissals" else "photo_key = ?"
        connection.execute(f"DELETE FROM {table} WHERE {own}", (trace,))
    words.refresh(connection, [trace, photo])


def _move_own_caption(connection: sqlite3.Connection, trace: int, photo: int) -> None:
    """Where a person has said something else of each, both is said."""
    said = [
        row[0]
        for key in (photo, trace)
        for row in connection.execute("SELECT text FROM captions WHERE photo_key = ? AND author = ?", (key, PERSON))
    ]
    if said:
        descriptions.put_own_caption(connection, photo, " ".join(dict.fromkeys(said)))


def _move_dismissals(connection: sqlite3.Connection, trace: int, photo: int) -> None:
    others = connection.execute(
        "SELECT photo_key + other_key - ?1 FROM dismissals WHERE ?1 IN (photo_key, other_key)", (trace,)
    ).fetchall()
    for (other,) in others:
        dismissals.put(connection, [photo, other])  # of a photo and itself nothing is kept


def _move_described(connection: sqlite3.Connection, trace: int, photo: int, stage: str, table: str) -> None:
    """What a stage has made of the trace, unless it has seen the photo, or made something of it."""
    seen = connection.execute(
        "SELECT 1 FROM descriptions WHERE photo_key = ?1 AND stage = ?2"
        f" UNION ALL SELECT 1 FROM {table} WHERE photo_key = ?1{_NOT_SAID.get(table, '')}",
        (photo, stage),
    ).fetchone()
    if seen is None:
        connection.execute(
            "UPDATE descriptions SET photo_key = ? WHERE photo_key = ? AND stage = ?", (photo, trace, stage)
        )
        connection.execute(
            f"UPDATE {table} SET photo_key = ? WHERE photo_key = ?{_NOT_SAID.get(table, '')}", (photo, trace)
        )
