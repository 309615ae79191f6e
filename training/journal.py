"""What a stage says, logs and saves while it learns."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

from training.run import Run

_SAVE_EVERY = 120.0  # seconds
_SAY_EVERY = 20.0


def say(text: str) -> None:
    """A line of progress with the time, on stderr."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


class Journal:
    """Call it after each step, with the samples seen and the step's losses."""

    def __init__(self, run: Run, stage: str, checkpoint: str, total: int, seen: int, save: Callable[[], None]) -> None:
        """`save` writes the `stage`'s `checkpoint`; `total` and `seen` are samples, at the end and now."""
        self._run, self._stage, self._checkpoint, self._total, self._save = run, stage, checkpoint, total, save
        self._seen = self._last = seen
        self._losses: list[dict[str, float]] = []
        self._spoke = self._saved = time.monotonic()
        if seen:
            say(f"on from {seen:,} samples")

    def __call__(self, seen: int, losses: dict[str, float]) -> None:
        """Say and log the mean losses and the pace every 20 seconds, save every two minutes."""
        self._losses.append(losses)
        self._last = seen
        if time.monotonic() - self._spoke >= _SAY_EVERY:
            self._tell()
        if time.monotonic() - self._saved >= _SAVE_EVERY:
            self._save()
            self._saved = time.monotonic()

    def close(self) -> None:
        """Say and log what is left to say, and save."""
        if self._losses:
            self._tell()
        self._save()

    def _tell(self) -> None:
        now = time.monotonic()
        pace = (self._last - self._seen) / max(1e-3, now - self._spoke)
        mean = {name: round(float(np.mean([loss[name] for loss in self._losses])), 4) for name in self._losses[0]}
        say(f"{self._last:,} of {self._total:,} samples, {pace:.0f}/s, {mean}")
        figures = {"samples": self._last, "per_second": round(pace, 1), "losses": mean}
        self._run.log(self._stage, checkpoint=self._checkpoint, **figures)
        self._spoke, self._seen, self._losses = now, self._last, []


class Seldom:
    """Passes on what it is told, but not more often than every 20 seconds."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        """`tell` is what to pass it to."""
        self._tell, self._told = tell, time.monotonic()

    def __call__(self, text: str) -> None:
        """Pass on `text`, or not."""
        if time.monotonic() - self._told >= _SAY_EVERY:
            self._tell(text)
            self._told = time.monotonic()
