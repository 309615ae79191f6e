"""When everything is to be looked through, by two clocks: the machine's own stands still while it sleeps."""

from __future__ import annotations

import time

_SLEPT = (
    60.0  # seconds by which the wall clock goes ahead of the machine's own: it was asleep, and missed what happened
)


class Schedule:
    """When everything is to be looked through: at once, every so many seconds, and after the machine was asleep."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._due = self._checked = time.monotonic()
        self._clock = time.time()

    def done(self) -> None:
        """It is looked through now."""
        self._due = time.monotonic() + self._every

    def bring_forward(self, seconds: float) -> None:
        """Look in so many seconds, if not sooner."""
        self._due = min(self._due, time.monotonic() + seconds)

    def is_due(self) -> bool:
        """Whether it is time."""
        own, clock = time.monotonic(), time.time()
        if (clock - self._clock) - (own - self._checked) > _SLEPT:
            self._due = own
        self._checked, self._clock = own, clock
        return own >= self._due

    def seconds_left(self) -> float:
        """Until it is time."""
        return max(0.0, self._due - time.monotonic())
