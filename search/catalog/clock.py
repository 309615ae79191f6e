"""The one way that times are written: ISO 8601, UTC, whole seconds."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> str:
    """This moment, as `2026-11-21T12:00:00+00:00`."""
    return datetime.now(UTC).isoformat(timespec="seconds")
