"""Rows that speak of others which are not there: what they hang on is brought back where something tells it."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator

from indexer.salvage.witnesses import UNKNOWN
from indexer.verify import libraries
from indexer.verify.facts import reread
from indexer.verify.findings import Finding, Mending, View, are, several
from search.catalog import paths, settings, soundness
from search.catalog.clock import now
from search.catalog.words import PERSON

_MOST = 2**48  # numbers of photos; a larger one is damaged, and the next photo would get one that is larger still
_LOST = "photo_key IS NOT NULL AND photo_key NOT IN (SELECT key FROM photos)"


def look(view: View) -> Iterator[Finding]:
    """Rows that speak of what is not there."""
    own = soundness.own_tables(view.connection)
    rows = view.connection.execute("PRAGMA foreign_key_check")
    broken = Counter((table, parent) for table, _, parent, *_ in rows if table in own)
    for (table, parent), count in sorted(broken.items()):
        yield Finding(
            "references",
            f"{several(count, 'row')} of {table} {are(count, 'speaks', 'speak')} of {parent} that are not there.",
            _mender(table, parent),
            about=f"{table} of {parent}",
        )


def _mender(table: str, parent: str) -> Callable[[Mending], None]:
    def mend(mending: Mending) -> None:
        connection = mending.connection
        if parent == "photos":
            _bring_back_photos(mending)
        with mending.transaction():
            if parent == "libraries":
                libraries.bring_back(mending)
            for _, _, of, column, key, *_ in connection.execute(f'PRAGMA foreign_key_list("{table}")').fetchall():
                gone = f'{column} IS NOT NULL AND {column} NOT IN (SELECT {key} FROM "{of}")'
                _name(mending, table, gone)
                connection.execute(f'DELETE FROM "{table}" WHERE {gone}')
            settings.grow_revision(connection)

    return mend


def _bring_back_photos(mending: Mending) -> None:
    """Make the rows of photos again that files name, and read from these what they are. Where no file is at hand, a
    photo of which a person has said something stays unknown until one is; of others the next run reads the files."""
    connection = mending.connection
    with mending.transaction():
        keys = [
            row[0]
            for row in connection.execute(
                f"SELECT DISTINCT photo_key FROM files WHERE {_LOST} AND photo_key BETWEEN 1 AND {_MOST}"
            ).fetchall()
        ]
        connection.executemany(
            "INSERT INTO photos (key, id, width, height, format, bytes, sort_at, added_at)"
            f" VALUES (?, '{UNKNOWN}' || ?, 0, 0, '', 0, ?, ?)",
            [(key, key, now()[:19], now()) for key in keys],
        )
    if not keys:
        return
    reread(mending, keys)
    with mending.transaction():
        for key in keys:
            row = connection.execute(
                f"SELECT 1 FROM photos WHERE key = ? AND id = '{UNKNOWN}' || key", (key,)
            ).fetchone()
            if row is None:
                continue
            if _has_something_said(connection, key):
                mending.notes.append(
                    f"The row of a photo was lost of which you have said something: {_file(connection, key)}. What it "
                    "is will be read from that file by a repair, once it is there."
                )
            else:
                connection.execute("DELETE FROM files WHERE photo_key = ?", (key,))
                connection.execute("DELETE FROM photos WHERE key = ?", (key,))


def _has_something_said(connection: sqlite3.Connection, key: int) -> bool:
    return (
        connection.execute(
            "SELECT 1 FROM captions WHERE photo_key = ?1 AND author = ?2"
            " UNION ALL SELECT 1 FROM dismissals WHERE ?1 IN (photo_key, other_key)",
            (key, PERSON),
        ).fetchone()
        is not None
    )


def _name(mending: Mending, table: str, gone: str) -> None:
    """Say what goes of what a person has made."""
    connection = mending.connection
    if table == "captions":
        rows = connection.execute(
            f"SELECT CAST(text AS BLOB) FROM captions WHERE author = ? AND {gone}", (PERSON,)
        ).fetchall()
        mending.notes += [
            f'Your caption "{content.decode("utf-8", "replace")}" was of a photo that is lost, and nothing tells '
            "which: it was deleted."
            for (content,) in rows
        ]
    elif table == "dismissals":
        for pair in connection.execute(f"SELECT photo_key, other_key FROM dismissals WHERE {gone}").fetchall():
            one, other = (_file(connection, key) for key in pair)
            mending.notes.append(
                f"You said that {one} and {other} are no duplicates; the row of a photo is lost, and nothing tells "
                "which it was: that was deleted."
            )


def _file(connection: sqlite3.Connection, key: int) -> str:
    row = connection.execute(
        "SELECT folder, name FROM files WHERE photo_key = ? AND typeof(folder) = 'blob' AND typeof(name) = 'blob'"
        " ORDER BY key LIMIT 1",
        (key,),
    ).fetchone()
    return paths.display(paths.join(*row)) if row else f"photo number {key}"
