"""The overview of a home, kept for as long as it holds."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing

from search.catalog.connection import connect_to_read, one_state
from search.columns import Columns
from search.home import Home
from search.overview import Overview
from search.postings import UnfitError

_PATIENCE, _MOST_PATIENCE = 20, 60.0
"""While the catalog keeps changing, an overview is used for so many times as long as reading it took, and for a minute
at most: a run of the indexer then costs searches little."""


class Overviews:
    """The overview of a home, read anew when its catalog has changed. Safe to use from many threads."""

    def __init__(self, home: Home, columns: Callable[[sqlite3.Connection], Columns | None] = lambda _: None) -> None:
        """`columns` gives what is known already of the state that a connection sees."""
        self._home, self._columns = home, columns
        self._lock = threading.Lock()
        self._state: tuple[object, ...] = ()
        self._overview: Overview | None = None
        self._good_until = 0.0
        self._reading = False

    def now(self) -> Overview:
        """What is committed, or was some moments ago if the catalog changes all the time; while a thread reads it anew,
        the others go on with what was.

        Raises:
            CatalogError: there is no index any more.
        """
        with self._lock:
            # Taken before anything is read: what is committed meanwhile makes it another one.
            state = self._catalog_state()
            known = self._overview
            if known is not None and (self._reading or state == self._state or time.monotonic() < self._good_until):
                return known
            if known is None:
                return self._read(state)
            self._reading = True
        try:
            return self._read(state)
        finally:
            self._reading = False

    def _read(self, state: tuple[object, ...]) -> Overview:
        began = time.monotonic()
        # On a connection of its own: the caller's may be in the middle of an earlier state.
        with closing(connect_to_read(self._home)) as connection, one_state(connection):
            try:
                self._overview, self._state = Overview.read(connection, self._columns(connection)), state
            except UnfitError:  # its keys are none that Sightline has given
                self._overview, self._state = Overview.empty(), state
        ended = time.monotonic()
        self._good_until = ended + min(_MOST_PATIENCE, _PATIENCE * (ended - began))
        return self._overview

    def _catalog_state(self) -> tuple[object, ...]:
        """Other after each commit, whoever made it: not every one that matters here grows the revision."""
        found: list[object] = []
        for path in (self._home.catalog_path, self._home.catalog_path.with_name(self._home.catalog_path.name + "-wal")):
            try:
                status = os.stat(path)
                found += [status.st_ino, status.st_size, status.st_mtime_ns]
            except OSError:
                found.append(None)
        return tuple(found)
