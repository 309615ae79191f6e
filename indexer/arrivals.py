"""Places where something has changed, held back until nothing is written to them any more.

A photo that is being copied is read when its size and its date have rested. What is gone rests a little longer: a
folder that is emptied goes file by file, and is to be judged as a whole (see `indexer.absence`).
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

from indexer.rules import IGNORE_FILE
from indexer.suffixes import is_photo_name

SETTLED = 1.0
"""Seconds for which a file has not changed, when it is taken to be whole."""
GONE = 2.0
"""Seconds since the last one went, when what is gone is taken to be all of it …"""
_LONGEST = 60.0  # … and since the first one, when it is not waited for any longer
_MOST = 200_000
"""More places than this are forgotten, and the whole libraries are to be looked through instead."""


@dataclass
class _Place:
    state: tuple[int, ...] | None
    """Size and date of a file, None where there is none."""
    since: float


class Arrivals:
    """Gathers changes from any thread, and gives out those that have settled."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: dict[bytes, _Place] = {}
        self._gone: tuple[float, float] = (0.0, 0.0)  # when the first and the last of what is gone went
        self._settled: set[bytes] = set()
        self._overflown = False
        self._woken = threading.Event()

    def changed(self, paths: Iterable[bytes]) -> None:
        """Something happened at these paths (absolute). Of a folder that is there, all files in it."""
        moment = time.monotonic()
        for path in paths:
            for place in _places(path):
                state = _state(place)
                with self._lock:
                    if len(self._places) >= _MOST:
                        self._places.clear()
                        self._overflown = True
                    self._places[place] = _Place(state, moment)
                    if state is None and is_photo_name(place):
                        self._gone = (self._gone[0] or moment, moment)

    def changed_as_a_whole(self, folders: Iterable[bytes]) -> None:
        """These folders are to be looked through, whatever happened in them."""
        moment = time.monotonic()
        with self._lock:
            for folder in folders:
                self._places[folder] = _Place(_state(folder), moment)

    def look(self) -> None:
        """See which places have settled; to be called a few times a second."""
        moment = time.monotonic()
        with self._lock:
            waiting = list(self._places.items())
            all_gone = moment - self._gone[1] >= GONE or moment - self._gone[0] >= _LONGEST
        settled = []
        for path, place in waiting:
            state = _state(path)
            if state != place.state:
                place.state, place.since = state, moment
                if state is None and is_photo_name(path):
                    all_gone = False
                    with self._lock:
                        self._gone = (self._gone[0] or moment, moment)
        for path, place in waiting:
            rested = moment - place.since
            if (all_gone and rested >= GONE) if place.state is None else rested >= SETTLED:
                settled.append((path, place))
        with self._lock:
            for path, place in settled:
                if self._places.get(path) is place:
                    del self._places[path]
                    self._settled.add(path)
            if not any(place.state is None for place in self._places.values()):
                self._gone = (0.0, 0.0)
            if self._settled or self._overflown:
                self._woken.set()

    def ready(self) -> bool:
        """Whether there is anything to take."""
        return self._woken.is_set()

    def take(self) -> list[bytes] | None:
        """The places that have settled, each once; None where there were too many to keep."""
        with self._lock:
            places: list[bytes] | None = sorted(self._settled)
            if self._overflown:
                places = None
            self._settled.clear()
            self._overflown = False
            self._woken.clear()
            return places

    def put_back(self, places: Iterable[bytes] | None) -> None:
        """What `take` gave could not be looked at; it has settled as before."""
        with self._lock:
            self._settled.update(places or ())
            self._overflown = self._overflown or places is None
            if self._settled or self._overflown:
                self._woken.set()

    def wait(self, seconds: float) -> bool:
        """Wait until there is something to take, for so long at most; returns whether there is."""
        return self._woken.wait(seconds)

    def wake(self) -> None:
        """End a wait although there is nothing."""
        self._woken.set()


def _places(path: bytes) -> list[bytes]:
    """The places to look at for a change at `path`."""
    name = os.path.basename(path)
    if name == IGNORE_FILE:
        return [os.path.dirname(path)]  # other patterns hold in the whole folder now
    try:
        status = os.stat(path)
    except OSError:
        # Whether it was a folder cannot be told any more.
        return [path]
    if stat.S_ISDIR(status.st_mode):
        return [
            os.path.join(folder, file) for folder, _, files in os.walk(path) for file in files if is_photo_name(file)
        ]
    return [path] if is_photo_name(name) else []


def _state(path: bytes) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (0,) if stat.S_ISDIR(status.st_mode) else (status.st_size, status.st_mtime_ns, status.st_ino)
