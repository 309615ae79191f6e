"""A run's progress, passed on to whoever started it and shown to other processes beside it."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

from indexer.progress import Progress
from search.catalog import job_progress
from search.catalog.clock import now
from search.home import Home

EVERY = 1.0
"""Seconds between two writings."""
BEAT = 5.0
"""Seconds after which it is written again although nothing moved: a sign of life, while a model is loaded, say."""
_WINDOW = 30
"""The rate is that of the last writings, so many: it follows a run that grows slower, and no single batch shakes it."""


class SharedProgress:
    """A `Progress` that tells another one everything, and writes how far the job is into the home, until closed."""

    def __init__(self, inner: Progress, home: Home, job: int) -> None:
        """Tell `inner`; write for `job` of `home`."""
        self._lock = threading.Lock()
        self._last: dict[str, Any] = {}
        self._closed = threading.Event()
        self._inner = inner
        self._home = home
        self._job = job
        self._name = ""
        self._total: int | None = None
        self._written: deque[tuple[float, int]] = deque(maxlen=_WINDOW)
        self._beating = threading.Thread(target=self._beat, name="beat", daemon=True)
        self._beating.start()

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

    def close(self) -> None:
        """The job has ended: show nothing any more."""
        self._closed.set()
        self._beating.join()
        job_progress.remove(self._home)

    def _beat(self) -> None:
        while not self._closed.wait(BEAT):
            with self._lock:
                if self._last:
                    job_progress.write(self._home, self._job, {**self._last, "at": now()})

    def _write(self, done: int, failed: int) -> None:
        moment = time.monotonic()
        rate: float | None = None
        if self._written:
            before, done_before = self._written[0]
            rate = max(0.0, (done - done_before) / (moment - before))
        self._written.append((moment, done))
        left = max(0, self._total - done) / rate if self._total is not None and rate else None
        with self._lock:
            self._last = {
                "stage": self._name,
                "done": done,
                "total": self._total,
                "failed": failed,
                "rate": None if rate is None else round(rate, 2),
                "seconds_left": None if left is None else round(left, 1),
                "at": now(),
            }
            job_progress.write(self._home, self._job, self._last)
