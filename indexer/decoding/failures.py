"""Photos whose decoding took long and failed: for some minutes they are not tried again at each look."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from search.errors import PhotoError

_LONG = 1.0
"""Seconds; what fails sooner may be tried each time."""
_REMEMBERED = 300.0
_MOST = 1000


class RecentFailures:
    """What is remembered of them, by the photos' ids, in this process alone. Thread-safe."""

    def __init__(self) -> None:
        self._failed: dict[str, tuple[float, PhotoError]] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def trying(self, photo_id: str) -> Iterator[None]:
        """Meanwhile the photo is decoded, unless that took long and failed a few minutes ago: then the `PhotoError` of
        that time is raised at once."""
        began = time.monotonic()
        with self._lock:
            until, before = self._failed.get(photo_id, (0.0, None))
        if before is not None and began < until:
            raise type(before)(str(before))
        try:
            yield
        except PhotoError as error:
            now = time.monotonic()
            if now - began >= _LONG:
                self._remember(photo_id, now, error)
            raise

    def _remember(self, photo_id: str, now: float, error: PhotoError) -> None:
        with self._lock:
            self._failed = {one: what for one, what in self._failed.items() if what[0] > now and one != photo_id}
            while len(self._failed) >= _MOST:
                del self._failed[next(iter(self._failed))]
            self._failed[photo_id] = now + _REMEMBERED, error
