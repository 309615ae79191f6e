"""Listening to folders: the operating system tells of changes in them; network drives are asked for theirs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from indexer.arrivals import Arrivals
from search.machine import file_system, is_on_network

POLL_SECONDS = 10.0
"""Between two looks at a drive whose changes nobody tells."""
UNTOLD_SECONDS = 600.0
"""The same for a folder whose name is no text, which is looked through as a whole."""
_NOT_TELLING = ("fuse", "virtiofs")  # a kind of file system whose name begins so may or may not tell
_TICK_SECONDS = 0.25
_DEBOUNCE_MS = 400
_ROOTS_EVERY = 2.0  # seconds after which the folders themselves are looked at: a drive may have come or gone
_LONGEST_PAUSE = 60.0


class Listener:
    """Listens to some folders in a thread of its own, and tells `Arrivals` until it is closed."""

    def __init__(self, roots: list[bytes], arrivals: Arrivals, say: Callable[[str], None], *, polling: bool) -> None:
        """Start to listen to `roots` (absolute); `say` hears of what a person should know."""
        self._roots = roots
        self._arrivals = arrivals
        self._say = say
        self._polling = polling
        self._stop = threading.Event()
        self.listens = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="listen", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._stop.set()
        self._thread.join()

    def _listen(self) -> None:
        pause = 1.0
        missed: set[bytes] = set()  # in which something may have happened while nobody listened
        while not self._stop.is_set():
            states = {root: _identity(root) for root in self._roots}
            began = time.monotonic()
            try:
                missed = self._hear(states, missed)
                pause = 1.0
                continue
            except FileNotFoundError:
                pass  # one has gone just now
            except Exception as error:  # whatever it is: with this thread all hearing would end
                if time.monotonic() - began > pause:
                    pause = 1.0
                if not self._polling and "limit" in str(error):
                    self._polling = True
                    self._say(
                        "The system cannot tell of changes in so many folders; they are looked through every "
                        f"{POLL_SECONDS:.0f} s instead. On Linux, a larger fs.inotify.max_user_watches mends that."
                    )
            missed = set(self._roots)
            self._stop.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _hear(self, states: dict[bytes, tuple[int, int] | None], missed: set[bytes]) -> set[bytes]:
        """Listen until a folder comes, goes or is another one; returns those. What was `missed` is looked through as
        soon as somebody listens.

        Raises:
            OSError, RuntimeError: the system cannot tell, or told of a name that is no text.
        """
        from watchfiles import Change, watch

        roots = [root for root, state in states.items() if state is not None]
        if not all(map(is_text, roots)):
            self._listens(missed)
            return set() if self._stop.wait(UNTOLD_SECONDS) else set(roots)
        if not roots:
            self._listens(missed)
            while not self._stop.wait(_ROOTS_EVERY) and not _changed(states):
                pass
            return _changed(states)
        heard = watch(
            *map(os.fsdecode, roots),
            watch_filter=None,
            debounce=_DEBOUNCE_MS,
            step=100,
            stop_event=self._stop,
            rust_timeout=int(_TICK_SECONDS * 1000),
            yield_on_timeout=True,
            raise_interrupt=False,
            force_polling=self._polling,
            poll_delay_ms=int(POLL_SECONDS * 1000),
            ignore_permission_denied=True,
        )
        for tick, changes in enumerate(heard):
            if tick == 0:
                self._listens(missed)
            # What changes in a folder is told by itself.
            paths = [path for kind, path in changes if kind != Change.modified or not os.path.isdir(path)]
            self._arrivals.changed(place for path in paths for place in _names(os.fsencode(path)))
            if tick % int(_ROOTS_EVERY / _TICK_SECONDS) == 0 and (others := _changed(states)):
                return others
        return set()

    def _listens(self, missed: set[bytes]) -> None:
        self.listens.set()
        self._arrivals.changed_as_a_whole(missed)


def _changed(states: dict[bytes, tuple[int, int] | None]) -> set[bytes]:
    return {root for root, state in states.items() if _identity(root) != state}


def _names(path: bytes) -> list[bytes]:
    """A path that was told, and where it really lies: of a folder that a link leads to, the system may tell by either
    name alone."""
    folder, name = os.path.split(path)
    real = os.path.join(os.path.realpath(folder), name)
    return [path] if real == path else [path, real]


def is_text(root: bytes) -> bool:
    """Whether the name of a folder is text: of others nobody can tell."""
    try:
        os.fsdecode(root).encode()
    except UnicodeEncodeError:
        return False
    return True


def tells(root: bytes) -> bool:
    """Whether the system tells of changes in this folder; of those on a network drive it tells nothing."""
    kind = file_system(root)
    return not is_on_network(root) and not kind.startswith(_NOT_TELLING)


def _identity(root: bytes) -> tuple[int, int] | None:
    try:
        status = os.stat(root)
    except OSError:
        return None
    return status.st_dev, status.st_ino
