"""The server's own follower: a process that indexes what changes in the folders, for as long as the server lives."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import threading
import time

from search.home import Home
from web.processes import start_indexer

logger = logging.getLogger("sightline.web")
_CLOSING_SECONDS = 5.0
"""A server that ends waits so long; what is then still at work is killed, which loses the batch in flight at most."""
_LONGEST_PAUSE = 60.0
_SOUND = 300.0  # seconds after which a process that ends is no sign of a fault that lasts


class Following:
    """Keeps the process at work: one that dies is started again, and goes on with what it has left."""

    def __init__(self, home: Home, *, watch: bool, every: float | None, poll: bool) -> None:
        """Nothing is started yet."""
        self._home = home
        self._wanted = {"watch": watch, "every": every, "poll": poll}
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="sightline-following", daemon=True)

    def start(self) -> None:
        """Start following; returns at once."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Let it commit what it has, and end. Returns at once."""
        with self._lock:
            self._closed.set()
            if self._process is not None and self._process.stdin is not None:
                with contextlib.suppress(OSError):
                    self._process.stdin.close()

    def close(self) -> None:
        """Wait until it has ended."""
        self.ask_to_stop()
        if not self._thread.is_alive():
            return
        self._thread.join(_CLOSING_SECONDS)
        if self._thread.is_alive() and self._process is not None:
            self._process.kill()
            self._thread.join()

    def _keep(self) -> None:
        pause = 1.0
        while True:
            with self._lock:
                if self._closed.is_set():
                    return
                process = self._process = self._start()
            if process is None:
                self._closed.wait(_LONGEST_PAUSE)
                continue
            began = time.monotonic()
            with process:
                assert process.stdout is not None
                for _ in process.stdout:
                    pass  # the jobs that it starts are in the catalog
                status = process.wait()
            if self._closed.is_set():
                return
            pause = 1.0 if time.monotonic() - began > _SOUND else min(2 * pause, _LONGEST_PAUSE)
            logger.error("the process that follows the folders ended with status %s; it is started again", status)
            if self._closed.wait(pause):
                return

    def _start(self) -> subprocess.Popen[bytes] | None:
        try:
            return start_indexer(self._home, cause="watch", **self._wanted)
        except OSError as error:  # no memory, or too many processes, just now
            logger.error("the process that follows the folders cannot be started: %s", error)
            return None
