"""What is read of a catalog once, and then brought up to date by its changelog."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Generic, Literal, NamedTuple, TypeVar

from search.catalog import changelog
from search.catalog.changelog import Entry
from search.postings import UnfitError
from search.vectors.protocol import Keys

logger = logging.getLogger("sightline.search")
State = TypeVar("State")
When = Literal["now", "settled", "never"]
SETTLED_SECONDS = 2.0
"""Reading is worth its while in a process that has been asked for so long: to answer a single question without takes no
longer, and the command line asks no more than one."""


class _Known(NamedTuple, Generic[State]):
    file: tuple[int, ...]
    entry: Entry
    state: State


class Followed(Generic[State]):
    """A state of something, which never changes itself, for each state of a catalog. Safe to use from many threads."""

    def __init__(
        self,
        read: Callable[[sqlite3.Connection], State],
        update: Callable[[State, sqlite3.Connection, Keys], State | None],
    ) -> None:
        """`read` reads the state that a connection sees; `update` makes it of an earlier one and of the photos that
        something was written about since, int64[n], or gives None where reading anew is better."""
        self._read, self._update = read, update
        self._lock = threading.Lock()
        self._known: _Known[State] | None = None
        self._asked_at: float | None = None
        self._reading = False
        self._unfit: tuple[tuple[int, ...], Entry] | None = None

    def at(self, connection: sqlite3.Connection, when: When = "settled") -> State | None:
        """The state that `connection` sees, in the middle of a transaction (`one_state`). None where the catalog itself
        is to be asked: it was not read yet (reading it is done `when` asked for, or when that is worth its while);
        another thread reads it; or that transaction began before one that was here already."""
        entry, file = changelog.last(connection), getattr(connection, "file", ())
        if entry is None:
            return None
        with self._lock:
            known = self._known
            if self._unfit == (file, entry):
                return None
            if known is not None and known.file == file:
                if known.entry == entry:
                    return known.state
                if entry.number < known.entry.number:
                    return None
                state = self._attempted(lambda: self._updated(known, connection), file, entry)
                if state is not None:
                    self._known = _Known(file, entry, state)
                if state is not None or self._unfit == (file, entry):
                    return state
            if self._asked_at is None:
                self._asked_at = time.monotonic()
            is_settled = known is not None or time.monotonic() - self._asked_at >= SETTLED_SECONDS
            if self._reading or when == "never" or not (is_settled or when == "now"):
                return None
            self._reading = True
        try:
            state = self._attempted(lambda: self._read(connection), file, entry)
            if state is not None:
                with self._lock:
                    self._known = _Known(file, entry, state)
            return state
        finally:
            self._reading = False

    def _updated(self, known: _Known[State], connection: sqlite3.Connection) -> State | None:
        changed = changelog.since(connection, known.entry)
        return None if changed is None else self._update(known.state, connection, changed)

    def _attempted(self, read: Callable[[], State | None], file: tuple[int, ...], entry: Entry) -> State | None:
        """What `read` gives; None of a catalog that is damaged, or too large, of which it is not asked again."""
        try:
            return read()
        except (UnfitError, ValueError, LookupError, OverflowError, MemoryError) as error:
            logger.warning("the catalog is asked, which takes longer: it cannot be held in memory (%s)", error)
            self._unfit = file, entry
            return None
