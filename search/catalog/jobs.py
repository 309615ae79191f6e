"""Jobs: what ran on this home, when, who asked for it, and how it ended."""

from __future__ import annotations

import getpass
import json
import os
import socket
import sqlite3
from datetime import UTC, datetime
from typing import Any

from search.catalog import job_progress
from search.catalog.clock import now
from search.home import Home

KEPT = 200
"""Older jobs of the same cause are forgotten when a new one starts: a folder that is watched makes many."""

SILENCE = 60.0
"""Seconds after which a job that gave no sign of life has died, however alive its process seems from here."""


def start(connection: sqlite3.Connection, kind: str, cause: str = "command") -> int:
    """Record that this process begins a job; whoever starts a job holds the writer's lock, so others have died.

    `cause` is what asked for it: `command`, `page`, `watch` or `schedule`.
    """
    key = int(
        connection.execute(
            "INSERT INTO jobs (kind, state, cause, user, host, pid, started_at) VALUES (?, 'running', ?, ?, ?, ?, ?)"
            " RETURNING key",
            (kind, cause, _user(), socket.gethostname(), os.getpid(), now()),
        ).fetchone()[0]
    )
    connection.execute(
        "UPDATE jobs SET state = 'died', ended_at = ?, message = coalesce(message, ?)"
        " WHERE state = 'running' AND key <> ?",
        (now(), f"Its process ended without a word; job {key} went on from there.", key),
    )
    connection.execute(
        "DELETE FROM jobs WHERE cause = ? AND key NOT IN"
        " (SELECT key FROM jobs WHERE cause = ? ORDER BY key DESC LIMIT ?)",
        (cause, cause, KEPT),
    )
    return key


def command(kind: str) -> str:
    """The command that such a job runs by."""
    return "sightline verify --repair" if kind == "repair" else f"sightline {kind}"


def end_all(connection: sqlite3.Connection) -> None:
    """Record that whatever seems to be at work has died; the caller holds the writer's lock, so nothing is."""
    connection.execute("UPDATE jobs SET state = 'died', ended_at = ? WHERE state = 'running'", (now(),))


def update(connection: sqlite3.Connection, key: int, counts: dict[str, Any]) -> None:
    """Keep the counts of a running job."""
    connection.execute("UPDATE jobs SET counts = ? WHERE key = ?", (json.dumps(counts), key))


def end(connection: sqlite3.Connection, key: int, state: str, message: str | None = None) -> None:
    """Record how a job ended: `done`, `stopped` by the user, or `failed` with a sentence."""
    connection.execute(
        "UPDATE jobs SET state = ?, ended_at = ?, message = ? WHERE key = ?", (state, now(), message, key)
    )


def recent(home: Home, connection: sqlite3.Connection, limit: int = 5) -> list[dict[str, Any]]:
    """The newest jobs, newest first, each with its `progress` while it runs; one whose process is gone, or has given no
    sign of life for `SILENCE`, shows as `died`."""
    return _documents(home, connection, "ORDER BY key DESC LIMIT ?", limit)


def find(home: Home, connection: sqlite3.Connection, key: int) -> dict[str, Any] | None:
    """The job of this id, as `recent` shows it, or None."""
    return next(iter(_documents(home, connection, "WHERE key = ?", key)), None)


def running(home: Home, connection: sqlite3.Connection) -> dict[str, Any] | None:
    """The job at work now, if one is."""
    return next((job for job in recent(home, connection, 1) if job["state"] == "running"), None)


def _counts(text: str) -> dict[str, Any]:
    """What a row says; nothing, where it is damaged: that keeps no other job from being shown."""
    try:
        counts = json.loads(text)
    except (TypeError, ValueError):
        return {}
    return counts if isinstance(counts, dict) else {}


def _documents(home: Home, connection: sqlite3.Connection, which: str, value: int) -> list[dict[str, Any]]:
    rows = connection.execute(
        f"SELECT key, kind, state, cause, user, host, pid, started_at, ended_at, counts, message FROM jobs {which}",
        (value,),
    )
    return [_document(home, *row) for row in rows]


def _document(
    home: Home,
    key: int,
    kind: str,
    state: str,
    cause: str,
    user: str | None,
    host: str,
    pid: int,
    started: str,
    ended: str | None,
    counts: str,
    message: str | None,
) -> dict[str, Any]:
    progress = job_progress.read(home, key) if state == "running" else None
    if state == "running" and not _alive(host, pid, progress["at"] if progress else started):
        state, progress = "died", None
    return {
        "id": key,
        "kind": kind,
        "state": state,
        "cause": cause,
        "user": user,
        "host": host,
        "pid": pid,
        "started_at": started,
        "ended_at": ended,
        "counts": _counts(counts),
        "message": message,
        "progress": progress,
    }


def _alive(host: str, pid: int, sign: str) -> bool:
    """Whether the job's process lives, whose last sign of life was at `sign`. A number of a process may be another's by
    now, and of those of another machine, or another container, nothing can be told from here but by that sign."""
    import psutil

    if host == socket.gethostname() and not psutil.pid_exists(pid):
        return False
    # A clock that was set back makes the sign one of the future: it is fresh then.
    return (datetime.now(UTC) - datetime.fromisoformat(sign)).total_seconds() < SILENCE


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run as a number that has no name
        return None
