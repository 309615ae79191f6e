"""What a run has changed since a state of the catalog, so that few changes need no look at all photos.

Temporary triggers, of the writer's own connection, note each photo that something is written about. They see every
statement of the run, foreign keys' included. What others commit meanwhile (a person's captions) they do not see, but
SQLite tells that there was something (https://sqlite.org/pragma.html#pragma_data_version): then all photos are looked
at.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3

import numpy as np

from search.catalog import dismissals, settings, words
from search.catalog.connection import one_state
from search.milvus.schema import FORM
from search.vectors.protocol import Keys

_COLUMNS = {
    "photos": ("key",),
    "files": ("photo_key",),
    "captions": ("photo_key",),
    "tags": ("photo_key",),
    "texts": ("photo_key",),
    "embeddings": ("photo_key",),
    "levels": ("photo_key",),
    "dismissals": ("photo_key", "other_key"),
}
_OF_ALL = {
    "tag_names": ("INSERT", "UPDATE", "DELETE"),
    "libraries": ("UPDATE OF offline",),
    # Words of all photos are written in another form: nothing else says so.
    "settings": ("INSERT", "UPDATE"),
}
_EVERY = -1
"""Stands for all photos."""


def state_of(connection: sqlite3.Connection) -> str:
    """A name for all that entities are made of, at this commit."""
    away = connection.execute("SELECT key, offline FROM libraries WHERE offline IS NOT NULL ORDER BY key").fetchall()
    (missing,) = connection.execute("SELECT count(*) FROM files WHERE missing_at IS NOT NULL").fetchone()
    named = [FORM, settings.revision(connection), words.state(connection), dismissals.state(connection), missing, away]
    return hashlib.blake2b(json.dumps(named).encode(), digest_size=16).hexdigest()


class Touched:
    """The photos that a connection has written about since the state that it was asked about last."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Note them from now on, in a connection that is in no transaction."""
        self._connection = connection
        connection.execute("CREATE TEMP TABLE IF NOT EXISTS touched (key INTEGER PRIMARY KEY)")
        for table, columns in _COLUMNS.items():
            for event, rows in (("INSERT", ("NEW",)), ("UPDATE", ("OLD", "NEW")), ("DELETE", ("OLD",))):
                values = [f"{row}.{column}" for row in rows for column in columns]
                self._note(table, event, values)
        for table, events in _OF_ALL.items():
            for event in events:
                self._note(table, event, [str(_EVERY)], "WHEN NEW.name = 'words_form'" if table == "settings" else "")
        with one_state(connection):
            self._since, self._version = state_of(connection), self.version()

    def begin(self, state: str, version: int) -> None:
        """Forget what was noted: from now on changes are those since `state`, which was read when `version` was. In no
        transaction."""
        with self._connection:
            self._connection.execute("DELETE FROM touched")
        self._since, self._version = state, version

    def since(self, state: str) -> Keys | None:
        """The photos that were written about since `state`, int64[n], sorted; None where that is not known."""
        if not state or state != self._since or self._version != self.version():
            return None
        rows = self._connection.execute("SELECT key FROM touched ORDER BY key")
        keys: Keys = np.fromiter(rows, dtype=[("key", np.int64)])["key"]
        return None if len(keys) and keys[0] == _EVERY else keys

    def version(self) -> int:
        """A number that is another one after others have committed."""
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def _note(self, table: str, event: str, values: list[str], condition: str = "") -> None:
        name = f"touched_{table}_{event.partition(' ')[0].lower()}"
        notes = " ".join(f"INSERT OR IGNORE INTO touched SELECT {one} WHERE {one} IS NOT NULL;" for one in values)
        self._connection.execute(
            f"CREATE TEMP TRIGGER IF NOT EXISTS {name} AFTER {event} ON main.{table} {condition} BEGIN {notes} END"
        )
