"""A run's progress, passed on to whoever started it and shown to other processes beside it."""

from __future__ import annotations

import time
from collections import deque

from indexer.progress import Progress
from search.catalog import job_progress
from search.catalog.clock import now
from search.home import Home

EVERY = 1.0
"""Seconds between two writings."""
_WINDOW = 30
"""The rate is that of the last writings, so many: it follows a run that grows slower, and no single batch shakes it."""


class SharedProgress:
    """A `Progress` that tells another one everything, and writes how far the job is into the home."""

    def __init__(self, inner: Progress, home: Home, job: int) -> None:
        """Tell `inner`; write for `job` of `home`."""
        self._inner = inner
        self._home = home
        self._job = job
        self._name = ""
        self._total: int | None = None
        self._written: deque[tuple[float, int]] = deque(maxlen=_WINDOW)

    def stage(self, name: str, total: int | None) -> None:
        """See `Progress.stage`."""
        self._inner.stage(name, total)
        self._name, self._total = name, total
        self._written.clear()
        self._write(0, 0)

    def advance(self, done: int, failed: int) -> None:
        """See `Progress.advance`."""
        self._inner.advance(done, failed)
        if not self._written or time.monotonic() - self._written[-1][0] >= EVERY:
            self._write(done, failed)

    def say(self, sentence: str) -> None:
        """See `Progress.say`."""
        self._inner.say(sentence)

    def _write(self, done: int, failed: int) -> None:
        moment = time.monotonic()
        rate: float | None = None
        if self._written:
            before, done_before = self._written[0]
            rate = max(0.0, (done - done_before) / (moment - before))
        self._written.append((moment, done))
        left = max(0, self._total - done) / rate if self._total is not None and rate else None
        job_progress.write(
            self._home,
            self._job,
            {
                "stage": self._name,
                "done": done,
                "total": self._total,
                "failed": failed,
                "rate": None if rate is None else round(rate, 2),
                "seconds_left": None if left is None else round(left, 1),
                "at": now(),
            },
        )
