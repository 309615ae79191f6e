"""One FTS5 table in memory, as far as it is asked for: postings of phrases, and the lengths of all photos' words.

Postings are kept as they were when they were read. Photos whose words were written later are taken out of them, and
found in a second, small table, which holds these photos alone: a log-structured merge, in which nothing large is ever
read again because of a commit.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from search import postings
from search.postings import Numbers, Okapi, Postings, Table
from search.vectors.protocol import Keys
from search.vectors.selection import Flags

MOST_KEPT = 4_000_000
"""Photos in all postings that are kept, those used last, or four times as many as there are, if that is more; each
takes 4 bytes and 2 for each group of fields, and twice that while words are written."""
_LIST = 64  # what a list takes besides, in photos
MOST_CHANGED = 20_000
"""Where more photos were written since, everything is read anew."""


class _Changes:
    """A table in memory of the words of photos that were written, which only grows: a photo that is written again
    gets another row. It also takes texts apart as the catalog's own does. Safe to use from many threads."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._lock = threading.Lock()
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        fields = ", ".join(table.fields)
        self._database.execute(
            f"CREATE VIRTUAL TABLE {table.name} USING fts5({fields}, tokenize = '{table.tokenizer}')"
        )
        self._database.execute(f"CREATE VIRTUAL TABLE asked USING fts5(text, tokenize = '{table.tokenizer}')")
        self._database.execute("CREATE VIRTUAL TABLE tokens USING fts5vocab(asked, instance)")
        self.rows = 0

    def tokens(self, phrase: str) -> tuple[str, ...]:
        """What the table makes of a phrase."""
        with self._lock:
            self._database.execute("INSERT INTO asked (text) VALUES (?)", (phrase,))
            rows = self._database.execute("SELECT term FROM tokens ORDER BY offset").fetchall()
            self._database.rollback()
            return tuple(row[0] for row in rows)

    def add(self, rows: Sequence[Sequence[object]]) -> tuple[Keys, Numbers]:
        """Add the fields of photos; the numbers of the rows, and how many tokens each has, int32[n]."""
        with self._lock, self._database:
            first = self.rows + 1
            marks = ", ".join("?" * (1 + len(self._table.fields)))
            fields = ", ".join(self._table.fields)
            self._database.executemany(
                f"INSERT INTO {self._table.name} (rowid, {fields}) VALUES ({marks})",
                ((number, *row) for number, row in enumerate(rows, start=first)),
            )
            self.rows += len(rows)
            return np.arange(first, self.rows + 1), postings.lengths(self._database, self._table)[first:]

    def read(self, tokens: Sequence[str]) -> Postings:
        """The postings of a phrase, by the numbers of rows."""
        with self._lock:
            return postings.read(self._database, self._table, tokens)


@dataclass(frozen=True)
class TextState:
    """What a table holds in one state of the catalog.

    Attributes:
        version: grows from state to state.
        lengths: int32[h], by key, how many tokens each photo has; -1 for those that are not in the table.
        changes: has the photos that were written since postings were kept first.
        owners: int64[r], the photo of each row there from 1 on; -1 where it has a later one, or none any more.
        written: bool[h], by key, which photos these are.
    """

    version: int
    lengths: Numbers
    changes: _Changes
    owners: Keys
    written: Flags

    @cached_property
    def okapi(self) -> Okapi:
        """BM25 with what this state has."""
        return Okapi.of(self.lengths)

    def merged(self, kept: Postings, tokens: Sequence[str]) -> Postings:
        """Postings that were `kept`, as they are now."""
        if not self.written.any():
            return kept
        stay = ~self.written[kept.keys]
        rows = self.changes.read(tokens)
        known = rows.keys <= len(self.owners)  # what is beyond was added by a later state
        owners = self.owners[rows.keys[known] - 1]
        keys = np.concatenate([kept.keys[stay], owners[owners >= 0].astype(np.int32)])
        found = rows.frequencies[:, known][:, owners >= 0]
        order = np.argsort(keys, kind="stable")
        return Postings(keys[order], np.concatenate([kept.frequencies[:, stay], found], axis=1)[:, order])


class FullText:
    """A table of one catalog. Safe to use from many threads."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._kept: OrderedDict[tuple[str, ...], tuple[_Changes, int, Postings]] = OrderedDict()
        self._merged: dict[tuple[str, ...], tuple[int, Postings]] = {}
        self._lock = threading.Lock()
        self._versions = 0

    def read(self, connection: sqlite3.Connection) -> TextState:
        """The state that a connection sees."""
        nothing = np.zeros(0, np.int64)
        lengths = postings.lengths(connection, self.table)
        return TextState(self._version(), lengths, _Changes(self.table), nothing, np.zeros(len(lengths), np.bool_))

    def update(self, state: TextState, connection: sqlite3.Connection, changed: Keys) -> TextState | None:
        """The state after these photos were written; None where too many were."""
        if state.changes.rows + len(changed) > MOST_CHANGED:
            return None
        rows = connection.execute(
            # As bytes: what a damaged catalog has for text may be none.
            f"SELECT rowid, {', '.join(f'CAST({field} AS BLOB)' for field in self.table.fields)} FROM {self.table.name}"
            " WHERE rowid IN (SELECT value FROM json_each(?)) ORDER BY rowid",
            (json.dumps(changed.tolist()),),
        ).fetchall()
        keys = np.asarray([row[0] for row in rows], np.int64)
        postings.check_keys(int(keys.min(initial=0)), int(keys.max(initial=0)), len(state.lengths) + len(keys))
        height = max(len(state.lengths), int(keys.max(initial=-1)) + 1)
        changed = changed[(changed >= 0) & (changed < height)]
        lengths = np.full(height, -1, np.int32)
        lengths[: len(state.lengths)] = state.lengths
        written = np.zeros(height, np.bool_)
        written[: len(state.written)] = state.written
        texts = [[None if field is None else field.decode("utf-8", "replace") for field in row[1:]] for row in rows]
        numbers, sizes = state.changes.add(texts)
        lengths[changed], written[changed] = -1, True
        lengths[keys] = sizes
        owners = np.full(state.changes.rows, -1, np.int64)
        owners[: len(state.owners)] = np.where(np.isin(state.owners, changed), -1, state.owners)
        owners[numbers - 1] = keys
        return TextState(self._version(), lengths, state.changes, owners, written)

    def postings(self, connection: sqlite3.Connection, state: TextState, phrase: str) -> Postings:
        """Those of a phrase in a state, which the connection sees too."""
        tokens = state.changes.tokens(phrase)
        with self._lock:
            kept = self._kept.get(tokens)
            merged = self._merged.get(tokens)
        if merged is not None and merged[0] == state.version:
            return merged[1]
        # What a later state has read has words in it that this one must not know.
        if kept is None or kept[0] is not state.changes or kept[1] > state.version:
            kept = state.changes, state.version, postings.read(connection, self.table, tokens)
            found = kept[2]
        else:
            found = state.merged(kept[2], tokens)
        with self._lock:
            self._keep(tokens, kept, max(MOST_KEPT, 4 * len(state.lengths)))
            self._merged[tokens] = state.version, found
            self._merged = {one: self._merged[one] for one in self._merged if one in self._kept}
        return found

    def _keep(self, tokens: tuple[str, ...], kept: tuple[_Changes, int, Postings], most: int) -> None:
        # Of what was read before the catalog was read anew nothing serves any more, and each keeps its changes alive.
        for former in [former for former, (changes, *_) in self._kept.items() if changes is not kept[0]]:
            del self._kept[former]
        self._kept[tokens] = kept
        self._kept.move_to_end(tokens)
        size = sum(len(one.keys) + _LIST for _, _, one in self._kept.values())
        while size > most and len(self._kept) > 1:
            _, (_, _, one) = self._kept.popitem(last=False)
            size -= len(one.keys) + _LIST

    def _version(self) -> int:
        with self._lock:
            self._versions += 1
            return self._versions
