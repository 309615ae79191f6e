"""Several workers: lent to whoever has photos to decode, watched by one thread, and ended when nobody needs them."""

from __future__ import annotations

import atexit
import contextlib
import functools
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from indexer.decoding.worker import Worker
from indexer.pixels import DecodingRoom, default_max_pixels
from search.errors import DecodingError

if TYPE_CHECKING:
    from indexer.decoding.settings import DecodingSettings

_LOOK_SECONDS = 1.0
"""The watcher looks so often at each worker, oftener where a photo may take only seconds."""
_IDLE_SECONDS = 60.0
"""After so long without a photo a worker ends: it holds 20 MB, and starts in a tenth of a second."""
_OWN_SHARE = 4
"""The part of the memory for pixels, one in so many, that workers take without asking, in equal shares."""


class User(Protocol):
    """Whoever workers are lent to.

    Attributes:
        closed: whether it wants no more of them.
    """

    closed: bool


class Pool:
    """Workers that are started when they are first needed. Thread-safe.

    Attributes:
        size: how many there are at most.
        settings: what each may use.
    """

    def __init__(
        self, size: int, settings: DecodingSettings, *, tasks: str = "indexer.decoding.tasks", shared: bool = True
    ) -> None:
        """Start nothing yet.

        Args:
            size: how many workers there may be.
            settings: what each may use.
            tasks: the module of what they do.
            shared: whether pixels come through shared memory, where the platform has it.
        """
        self.size = size
        self.settings = settings
        self._tasks = tasks
        self._shared = shared
        self._changed = threading.Condition()
        self._workers: dict[Worker, User | None] = {}  # and who has each now
        self._idle: dict[Worker, float] = {}  # since when; the last is the one that was used last
        self._seconds = 0.0  # of workers that have ended
        self._watched = False
        self._closed = threading.Event()

    @functools.cached_property
    def room(self) -> DecodingRoom:
        """The memory for pixels that workers ask for."""
        pixels = default_max_pixels()
        return DecodingRoom(pixels - pixels // _OWN_SHARE)

    def start(self, count: int) -> None:
        """Start up to `count` workers, so that they are ready when they are needed; does not wait until they are.

        Raises:
            DecodingError: no process can be started, or this was closed.
        """
        with self._changed:
            while len(self._workers) < min(count, self.size):
                worker = self._new()
                self._idle[worker] = time.monotonic()
                worker.start()

    @contextlib.contextmanager
    def worker(self, user: User) -> Iterator[Worker]:
        """A worker that nobody else has meanwhile; waits until there is one.

        Raises:
            DecodingError: this or its user was closed.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._idle or len(self._workers) < self.size or self._closed.is_set() or user.closed
            )
            if user.closed:
                raise DecodingError("Decoding was stopped.")
            # The one that was used last: what few photos need, few workers do.
            worker = self._idle.popitem()[0] if self._idle else self._new()
            self._workers[worker] = user
        try:
            yield worker
        finally:
            with self._changed:
                if worker.closed:
                    worker.close()  # it may have answered before it heard of its end
                    self._remove(worker)
                else:
                    self._workers[worker] = None
                    self._idle[worker] = time.monotonic()
                self._changed.notify()

    @property
    def seconds(self) -> float:
        """Processor time that the workers' answers have taken."""
        with self._changed:
            return self._seconds + sum(worker.seconds for worker in self._workers)

    @property
    def pids(self) -> list[int]:
        """The numbers of the processes that there are now."""
        with self._changed:
            return [worker.pid for worker in self._workers if worker.pid is not None]

    def dismiss(self, user: User) -> None:
        """Close a user: the workers that it has end, whoever waits for them has a `DecodingError`, and so has who asks
        for more in its name. Others may start in their places."""
        with self._changed:
            user.closed = True
            for worker, whose in self._workers.items():
                if whose is user:
                    worker.close()
            self._changed.notify_all()

    def close(self) -> None:
        """End all workers; whoever waits for one has a `DecodingError`."""
        with self._changed:
            self._closed.set()
            for worker in self._workers:
                worker.close()
            self._changed.notify_all()

    def _new(self) -> Worker:
        if self._closed.is_set():
            raise DecodingError("Decoding was stopped.")
        if not self._watched:
            try:
                threading.Thread(target=self._watch, name="decoders", daemon=True).start()
            except RuntimeError as error:  # the system has no thread left
                raise DecodingError(f"No thread can be started to watch the decoding of photos: {error}.") from error
            self._watched = True
        free = default_max_pixels() // _OWN_SHARE // self.size
        worker = Worker(self.settings, self._tasks, shared=self._shared, room=self.room, free=free)
        self._workers[worker] = None
        return worker

    def _remove(self, worker: Worker) -> None:
        del self._workers[worker]
        self._seconds += worker.seconds

    def _watch(self) -> None:
        look = min(_LOOK_SECONDS, self.settings.seconds / 4)
        last = time.monotonic()
        while not self._closed.wait(look):
            now = time.monotonic()
            # Of a machine that slept meanwhile, or stood still, no more than a moment counts.
            elapsed, last = min(now - last, 2 * look), now
            with self._changed:
                for worker in [worker for worker, since in self._idle.items() if now - since > _IDLE_SECONDS]:
                    del self._idle[worker]
                    self._remove(worker)
                    worker.close()
                if not self._workers:
                    self._watched = False
                    return
                watched = list(self._workers)
            for worker in watched:
                worker.watch(elapsed)


_of_process: dict[tuple[int, DecodingSettings], Pool] = {}
_making = threading.Lock()


def _close_all() -> None:
    for pool in _of_process.values():
        pool.close()


def pool_of_process(size: int, settings: DecodingSettings) -> Pool:
    """The pool of this size that all of this process share; it ends with the process."""
    with _making:
        if not _of_process:
            atexit.register(_close_all)
        key = (size, settings)
        if key not in _of_process:
            _of_process[key] = Pool(size, settings)
        return _of_process[key]
