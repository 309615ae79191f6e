"""`sightline index` as the child of a server: brings all known libraries of the home in `sys.argv[1]` up to date, or
follows them.

`sys.argv[2]` says in JSON what is wanted: the `cause` of the run; or, to follow the folders, whether to `watch` them,
`every` how many seconds to look through all, and whether to `poll`. On stdout it writes lines of JSON: the id of a job
that it starts, or why there is none. What is for the log goes to stderr.

It stops, as on Ctrl+C, when its stdin ends: the server closes it to stop a run, and the operating system does so when
the server is gone, however it went. That works on every platform, and no signal can reach another process by mistake.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from indexer import logs
from indexer.progress import Progress
from indexer.report import IndexOptions
from indexer.run import run_index
from indexer.watch import Follower
from search.errors import LockedError, SightlineError
from search.home import Home


def main() -> int:
    """Run, and return the exit status."""
    answers = os.dup(1)
    os.dup2(2, 1)  # what a library may print is for the log
    if isinstance(sys.stderr, io.TextIOWrapper):  # not where a service of Windows has none
        sys.stderr.reconfigure(errors="replace")
    logs.set_up_as_told()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, _interrupt)
    threading.Thread(target=_stop_with_stdin, name="stdin", daemon=True).start()
    try:
        with logs.progress(live=False) as progress:
            _index(Home(Path(sys.argv[1])), json.loads(sys.argv[2]), progress, answers)
    except SightlineError as error:
        logs.say(str(error))
        _answer(answers, {"error": str(error), "locked": isinstance(error, LockedError)})
        return 1
    except KeyboardInterrupt:
        logs.say("The run was stopped; what was done so far is kept.", level=logging.INFO)
        return 1
    return 0


def _index(home: Home, wanted: dict[str, Any], progress: Progress, answers: int) -> None:
    def started(job: int) -> None:
        _answer(answers, {"job": job})

    if "watch" in wanted:
        follower = Follower(
            home,
            IndexOptions(),
            progress,
            watch=wanted["watch"],
            every=wanted["every"],
            poll=wanted["poll"],
            patient=True,
            started=started,
        )
        follower.run()
    else:
        run_index(home, (), IndexOptions(cause=wanted["cause"]), progress, started)


def _answer(stream: int, document: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # the server is gone; stdin's end says so too
        os.write(stream, json.dumps(document).encode() + b"\n")


def _interrupt(number: int, frame: FrameType | None) -> None:
    # Once: a second one would break off the writing of how the job ended.
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    raise KeyboardInterrupt


def _stop_with_stdin() -> None:
    while os.read(0, 1024):
        pass
    if hasattr(signal, "pthread_kill"):
        # Wakes the main thread even where it waits for another one.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)
