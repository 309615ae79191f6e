"""Jobs: what ran on this home, when, and how it ended."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
from typing import Any

from search.catalog.clock import now

KEPT = 200
"""Older jobs are forgotten when a new one starts."""


def start(connection: sqlite3.Connection, kind: str) -> int:
    """Record that this process begins a job; whoever starts a job holds the writer's lock, so others have died."""
    end_all(connection)
    connection.execute("DELETE FROM jobs WHERE key <= (SELECT max(key) FROM jobs) - ?", (KEPT,))
    return int(
        connection.execute(
            "INSERT INTO jobs (kind, state, host, pid, started_at) VALUES (?, 'running', ?, ?, ?) RETURNING key",
            (kind, socket.gethostname(), os.getpid(), now()),
        ).fetchone()[0]
    )


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


def recent(connection: sqlite3.Connection, limit: int = 5) -> list[dict[str, Any]]:
    """The newest jobs, newest first; one whose process is gone shows as `died`."""
    return _documents(connection, "ORDER BY key DESC LIMIT ?", limit)


def find(connection: sqlite3.Connection, key: int) -> dict[str, Any] | None:
    """The job of this id, as `recent` shows it, or None."""
    return next(iter(_documents(connection, "WHERE key = ?", key)), None)


def _documents(connection: sqlite3.Connection, which: str, value: int) -> list[dict[str, Any]]:
    rows = connection.execute(
        f"SELECT key, kind, state, host, pid, started_at, ended_at, counts, message FROM jobs {which}", (value,)
    )
    return [
        {
            "id": key,
            "kind": kind,
            "state": "died" if state == "running" and not _alive(host, pid) else state,
            "host": host,
            "pid": pid,
            "started_at": started,
            "ended_at": ended,
            "counts": _counts(counts),
            "message": message,
        }
        for key, kind, state, host, pid, started, ended, counts, message in rows
    ]


def running(connection: sqlite3.Connection) -> dict[str, Any] | None:
    """The job at work now, if one is."""
    return next((job for job in recent(connection, 1) if job["state"] == "running"), None)


def _counts(text: str) -> dict[str, Any]:
    """What a row says; nothing, where it is damaged: that keeps no other job from being shown."""
    try:
        counts = json.loads(text)
    except (TypeError, ValueError):
        return {}
    return counts if isinstance(counts, dict) else {}


def _alive(host: str, pid: int) -> bool:
    import psutil

    # Of another machine nothing can be told from here; believe what it wrote.
    return host != socket.gethostname() or psutil.pid_exists(pid)
