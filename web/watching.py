"""What the listeners of events are told of: the index and the newest job, looked at cheaply and often."""

from __future__ import annotations

import sqlite3
import threading
import time
from dataclasses import dataclass
from typing import Any

from search.catalog import descriptions, failures, model_records, settings
from search.catalog.connection import Reader, connect_to_read, one_state
from search.catalog.descriptions import CAPTIONS, TAGS, TEXT
from search.catalog.soundness import explained
from search.errors import CatalogError, MissingCatalogError, SightlineError
from search.home import Home
from web.access import EngineAccess
from web.jobs import Jobs
from web.problems import NO_INDEX, ProblemError

_SHARE = 20
"""Counting a large library takes a while: the next count waits so many times as long, and so never takes much from the
indexer beside it."""

_DAMAGE_SECONDS = 60.0
_NOTHING = {"photos": 0, "failures": 0, "waiting": {}, "model": None, "generation": None, "revision": 0}


@dataclass(frozen=True)
class State:
    """What is to be told: a status, and the newest job where there is one."""

    status: dict[str, Any]
    job: dict[str, Any] | None


class Watch:
    """Looks at one home. Thread-safe, by one look at a time."""

    def __init__(self, home: Home, jobs: Jobs) -> None:
        self._home = home
        self._jobs = jobs
        self._lock = threading.Lock()
        self._connection: Reader | None = None
        self._seen: int | None = None
        self._counts: dict[str, Any] = {}
        self._counted_until = 0.0
        self._damage: CatalogError | None = None
        self._damage_until = 0.0

    def look(self) -> State:
        """The state at this moment; counted anew only where something was committed since. Call it in a worker
        thread."""
        with self._lock:
            return self._look()

    def close(self) -> None:
        """Let go of the catalog; the next look opens it again."""
        with self._lock:
            self._let_go()

    def _look(self) -> State:
        try:
            connection = self._current()
            with one_state(connection):
                self._count(connection)
                job = self._jobs.newest(connection)
        except Exception as error:
            self._let_go()
            return self._unreadable(error)
        running = job["id"] if job is not None and job["state"] == "running" else None
        return State({**self._counts, "job": running, "detail": None, "missing": False}, job)

    def _unreadable(self, error: Exception) -> State:
        """What is to be told where there is no index, or it cannot be read. Raises what is a fault of the program."""
        if not isinstance(error, CatalogError):
            damage = self._explained(error)
            if damage is None and not isinstance(error, sqlite3.Error):
                raise error
            # A lock or a full disk goes by: what was counted last is nearer to the truth than nothing.
            if damage is None and self._counts:
                return State({**self._counts, "job": None, "detail": None, "missing": False}, None)
            error = damage or CatalogError(f"The index cannot be read at this moment: {error}.")
        missing = isinstance(error, MissingCatalogError)
        return State({**_NOTHING, "job": None, "detail": str(error), "missing": missing}, None)

    def _explained(self, error: Exception) -> CatalogError | None:
        """The damage that led to an error; looked for once a minute at most, since that reads the whole catalog."""
        if isinstance(error, sqlite3.Error) or time.monotonic() > self._damage_until:
            self._damage = explained(self._home, error)
            self._damage_until = time.monotonic() + _DAMAGE_SECONDS
        return self._damage

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _current(self) -> Reader:
        if self._connection is not None and not self._connection.is_current(self._home):
            self._let_go()  # another file has taken its place
        if self._connection is None:
            self._connection = connect_to_read(self._home)
            self._seen, self._counted_until = None, 0.0
        return self._connection

    def _count(self, connection: Reader) -> None:
        """Count, if another connection has committed (https://sqlite.org/pragma.html#pragma_data_version)."""
        began = time.monotonic()
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        if version == self._seen or began < self._counted_until:
            return
        model = model_records.active(connection)
        (generation,) = connection.execute(
            "SELECT max(key) FROM generations WHERE model_key = ?", (model.key if model else -1,)
        ).fetchone()
        stages = {stage: descriptions.progress(connection, stage) for stage in (CAPTIONS, TAGS, TEXT)}
        self._counts = {
            "photos": connection.execute("SELECT count(*) FROM photos WHERE orphaned_at IS NULL").fetchone()[0],
            "failures": failures.count(connection),
            "waiting": {stage: counts["waiting"] for stage, counts in stages.items()},
            "model": model.name if model else None,
            "generation": generation,
            "revision": settings.revision(connection),
        }
        self._seen = version
        self._counted_until = time.monotonic() + _SHARE * (time.monotonic() - began)


class NodeWatch:
    """Looks at the collection that a node answers from, as the home was when it was brought there."""

    def __init__(self, access: EngineAccess) -> None:
        self._access = access

    def look(self) -> State:
        """The state at this moment. Call it in a worker thread."""
        told: dict[str, Any] = {**_NOTHING, "job": None, "detail": None, "missing": False, "node": True}
        try:
            status = self._access.engine().status()
        except (ProblemError, SightlineError) as error:
            return State({**told, "detail": str(error), "missing": getattr(error, "kind", "") == NO_INDEX}, None)
        counts = {stage: described["waiting"] for stage, described in status["described"].items()}
        told |= {name: status[name] for name in ("photos", "failures", "model", "generation", "revision")}
        return State({**told, "waiting": counts}, None)

    def close(self) -> None:
        """There is nothing to let go of."""
