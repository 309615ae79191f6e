"""How far the running job is, for other processes to see: a small file in the home, replaced about once a second, and
every few seconds as a sign of life where nothing moves.

It is no part of the catalog: a commit a second would cost a flush to the disk each, and would wait for the batch's own
transaction. It names its job, so one that a killed process left behind is of no job that runs.
"""

from __future__ import annotations

import contextlib
import json
from datetime import datetime
from typing import Any

from search.home import Home


def write(home: Home, job: int, progress: dict[str, Any]) -> None:
    """Show the progress of `job`. Where it cannot be written, the disk being full, say, it is simply not seen."""
    aside = home.progress_path.with_suffix(".new")
    with contextlib.suppress(OSError):  # on Windows also while somebody reads the old one
        aside.write_text(json.dumps({"job": job, **progress}), encoding="utf-8")
        aside.replace(home.progress_path)


def read(home: Home, job: int) -> dict[str, Any] | None:
    """What was last written of `job`: `stage`, `done`, `total`, `failed`, `rate`, `seconds_left`, `at`; None where
    there is nothing of it."""
    try:
        progress = json.loads(home.progress_path.read_text(encoding="utf-8"))
        if not isinstance(progress, dict) or progress.pop("job", None) != job:
            return None
        datetime.fromisoformat(progress["at"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return progress


def remove(home: Home) -> None:
    """Show nothing any more."""
    with contextlib.suppress(OSError):
        home.progress_path.unlink(missing_ok=True)
