"""A process that decodes, as the operating system has it: started, spoken to, ended, and asked why it has ended."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from indexer.decoding.channel import BrokenMessageError, Channel, Exchange
from indexer.decoding.child import NO_MEMORY, OUT_OF_MEMORY
from search.errors import DecodingError, PhotoError, PhotoForNowError, PhotoMemoryError

# The modules beside this one, wherever this was started, and none of the folder that it was started in.
_PROGRAM = (
    f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
    "from indexer.decoding.child import main; main()"
)
_ENVIRONMENT = {
    # Its products are tiny: threads for them would only take memory.
    "OPENBLAS_NUM_THREADS": "1",
    # The C library of Linux would give a picture's memory back, to ask for as much for the next: for small photos that
    # takes up to a third of the time.
    "MALLOC_TRIM_THRESHOLD_": str(64 * 2**20),
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
}
_DYING_SECONDS = 2.0
"""One whose pipe has ended is given so long to end by itself, which tells of what it died."""

_CRASHES = frozenset({"SIGSEGV", "SIGABRT", "SIGILL", "SIGFPE", "SIGTRAP", "SIGSYS"})
"""Of which a process dies of its own doing; of SIGBUS it dies where a file or memory that it maps is not to be had."""
_LAST_EXIT_STATUS = 255

Position = tuple[int, int]
"""Which request it is at, counted from 1, and which photo of it, counted from 1; 0 where it is at none yet."""


@dataclass(frozen=True)
class Death:
    """How a process has ended.

    Attributes:
        at: which photo of the request it was at, counted from 0; None where it was at none.
        why: what to say of that photo.
        surely: whether it is surely this photo's doing.
    """

    at: int | None
    why: PhotoError
    surely: bool

    @property
    def is_of_others(self) -> bool:
        """Whether it may be the doing of others: of whoever sent a signal, or of a machine that stood still."""
        return _is_of_others(self.why)


class Process:
    """A process and the channel to it.

    Attributes:
        ready: whether it has said that it is.
        asked: how many requests it was sent.
        told: which photo it said that it is at, where it cannot leave a mark in shared memory.
        waits: whether it waits for something that is no fault of its own.
    """

    def __init__(self, tasks: str, seconds: float, memory: int, *, shared: bool) -> None:
        """Start it; it need not be ready when this returns. Raises `DecodingError` where none can be started."""
        made = Exchange.create() if shared else None
        self._exchange: Exchange | None = made[0] if made else None
        descriptor = made[1] if made else None
        options = {"tasks": tasks, "seconds": seconds, "memory": memory, "exchange": descriptor}
        try:
            self._popen = _spawned(json.dumps(options), descriptor)
        except OSError as error:
            raise DecodingError(f"No process to decode photos can be started: {error.strerror or error}.") from error
        finally:
            if descriptor is not None:
                os.close(descriptor)
        source, sink = self._popen.stdout, self._popen.stdin
        assert source is not None and sink is not None
        self.channel = Channel(io.BufferedReader(cast("io.RawIOBase", source)), sink, self._exchange)
        self.ready = False
        self.asked = 0
        self.told = 0
        self.waits = False
        self._lock = threading.Lock()
        self._at_work = False
        self._photos = 0
        self._killed: tuple[Position, PhotoError] | None = None

    @property
    def pid(self) -> int:
        """Its number."""
        return self._popen.pid

    @property
    def position(self) -> Position | None:
        """What it is at; None while nobody waits for it, or it for others."""
        return self._position() if self._at_work and not self.waits else None

    def _position(self) -> Position:
        return self.asked, self.told if self._exchange is None else self._exchange.mark

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Meanwhile somebody waits for it."""
        with self._lock:
            self._at_work = True
        try:
            yield
        finally:
            with self._lock:
                self._at_work = self.waits = False

    def begin(self, photos: int) -> None:
        """It is about to be asked about so many photos."""
        with self._lock:
            self.asked += 1
            self._photos = photos
            self.told = 0
            if self._exchange is not None:
                self._exchange.mark = 0

    def wait_until_ready(self) -> str:
        """Hear that it is `ready`; else returns why it is not, '' where it has ended without a word."""
        try:
            said, _ = self.channel.receive()
        except BrokenMessageError:
            return ""
        self.ready = "ready" in said
        return str(said.get("failed", ""))

    def kill_at(self, position: Position, why: PhotoError) -> None:
        """End it if it still is at this; `why` is then what is said of the photo."""
        with self._lock:
            if self._at_work and self._position() == position:
                self._killed = position, why
                self._popen.kill()

    def end(self) -> None:
        """End it, if it has not ended, and free what was held for it. Not while somebody waits for it: see `kill`."""
        self.kill()
        self._popen.wait()
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def kill(self) -> bool:
        """End it; whoever waits for it hears so. Returns whether anybody did."""
        with self._lock:
            self._popen.kill()
            return self._at_work

    def autopsy(self) -> Death:
        """How it ended, where its channel is broken."""
        status = self._status()
        position = self._position()
        at = position[1] - 1 if 1 <= position[1] <= self._photos else None
        if self._killed is not None and self._killed[0] == position:
            why = self._killed[1]
            # Of the memory that it has, earlier photos may have left the most.
            alone = position == (1, 1) or not isinstance(why, PhotoMemoryError)
            return Death(at, why, at is not None and alone and not _is_of_others(why))
        why = _cause(status)
        if at is None and not isinstance(why, PhotoMemoryError):
            why = PhotoForNowError(str(why))  # it has begun with no photo that could have done it
        return Death(at, why, position == (1, 1) and not _is_of_others(why))

    def processor_seconds(self) -> float:
        """Processor time that it has taken so far."""
        import psutil

        try:
            times = psutil.Process(self.pid).cpu_times()
            return float(times.user + times.system)
        except psutil.Error:
            return 0.0

    def memory(self) -> int:
        """Bytes of it that lie in memory, what is shared included."""
        import psutil

        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def _status(self) -> int | None:
        """Its exit status, None where it has not ended by itself."""
        try:
            return self._popen.wait(_DYING_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            self._popen.wait()
            return None


def _spawned(options: str, descriptor: int | None) -> subprocess.Popen[bytes]:
    # A process of its own rather than one of `multiprocessing`, which would run the caller's main module once more.
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _PROGRAM, options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        pass_fds=() if descriptor is None else (descriptor,),
        env={**os.environ, **_ENVIRONMENT},
        # Ctrl+C is for whoever started it.
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) | getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )


def _is_of_others(why: PhotoError) -> bool:
    return isinstance(why, PhotoForNowError) and not isinstance(why, PhotoMemoryError)


def _cause(status: int | None) -> PhotoError:
    """What to say of a photo at which the process ended so."""
    if status is None:
        return PhotoError("decoding it crashed (it answered nonsense)")
    if status == OUT_OF_MEMORY:
        return PhotoMemoryError(NO_MEMORY)
    if status == -getattr(signal, "SIGKILL", 9):
        return PhotoMemoryError("the system ended its decoding, as it does where memory runs out")
    if 0 <= status <= _LAST_EXIT_STATUS:
        return PhotoForNowError(f"decoding it ended early (exit status {status})")
    if status > _LAST_EXIT_STATUS:  # as Windows calls it
        return PhotoError(f"decoding it crashed (exit status {status})")
    name = str(-status)
    with contextlib.suppress(ValueError):
        name = signal.Signals(-status).name
    if name in _CRASHES:
        return PhotoError(f"decoding it crashed ({name})")
    return PhotoForNowError(f"its decoding was ended from outside ({name})")
