"""What runs in a process that decodes: it does one task after another until its stdin ends, within its limits.

It ends with whoever started it, however that one ended: the operating system closes the pipe, which a thread of it
waits for; and where a decoder lets no other thread run, an alarm ends it that nothing in Python can hold up.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from indexer.decoding.channel import BrokenMessageError, Buffer, Channel, Exchange
from search.errors import PhotoError, PhotoForNowError, PhotoMemoryError

OUT_OF_MEMORY = 86
"""The exit status of a process that had no memory left to say so."""
NO_MEMORY = "it needs more memory than there is"
PATIENCE = 10
"""By the clock a photo may take so many times as long as by the processor: the machine may have other work."""
_LATER = 10.0
"""Seconds after which it ends itself, beyond those in which it is to be ended."""
_PR_SET_PDEATHSIG = 1  # of linux/prctl.h

Task = Callable[..., tuple[dict[str, Any], Buffer]]
Requests = queue.SimpleQueue[tuple[dict[str, Any], list[Buffer]]]


def main() -> None:
    """Serve whoever started this; `sys.argv[1]` is a document with the `tasks`, the limits and the shared memory."""
    channel, exchange, options = _connect()
    try:
        tasks = importlib.import_module(options["tasks"])
        _limit(options["memory"])
    except Exception as error:
        channel.send({"failed": f"{type(error).__name__}: {error}"})
        return
    requests: Requests = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(channel, requests), daemon=True).start()
    channel.send({"ready": True})
    try:
        while True:
            _serve(tasks, requests, channel, exchange, options["seconds"])
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except (OSError, KeyboardInterrupt):  # whoever asked is gone
        os._exit(0)


def _connect() -> tuple[Channel, Exchange | None, dict[str, Any]]:
    # Ctrl+C is for whoever started this, who ends it in its own way.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    _wake_with_parent()
    # What libraries print must not get among the messages, nor they at what is to be read.
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    options: dict[str, Any] = json.loads(sys.argv[1])
    exchange = None if options["exchange"] is None else Exchange(options["exchange"])
    return Channel(open(source, "rb"), open(sink, "wb", buffering=0), exchange), exchange, options


def _wake_with_parent() -> None:
    """Have Linux wake this process, if it was stopped, when the one that started it ends: asleep it would not hear of
    that. It does so as well when only the thread ends that started this, which is why this asks for nothing worse."""
    if sys.platform == "linux":
        with contextlib.suppress(ImportError, OSError, AttributeError):
            import ctypes

            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGCONT), 0, 0, 0)


def _limit(memory: int) -> None:
    """Let the process take so many bytes beyond what it has now, where the platform has such a limit."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, ValueError):
        with open("/proc/self/statm", encoding="ascii") as file:
            taken = int(file.read().split()[5]) * resource.getpagesize()
        most = taken + memory
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        # Where memory runs out all the same, the system is to take this process, not the run or the server.
        file.write("500")


def _listen(channel: Channel, requests: Requests) -> None:
    try:
        while True:
            requests.put(channel.receive())
    except BrokenMessageError:
        os._exit(0)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)


def _serve(tasks: ModuleType, requests: Requests, channel: Channel, exchange: Exchange | None, seconds: float) -> None:
    request, contents = requests.get()
    end = channel.end
    began = time.process_time()
    room = _Room(channel, requests, request["free"], seconds)
    task: Task = getattr(tasks, request["task"])
    answers, payloads = [], []
    for number, content in enumerate(contents, start=1):
        if exchange is None:
            channel.send({"at": number})
        else:
            exchange.mark = number
        _alarm(PATIENCE * seconds + _LATER)
        answer, payload = _answer(task, bytes(content), request["arguments"], room)
        answers.append(answer)
        payloads.append(payload)
    _alarm(0)
    if exchange is not None:
        exchange.mark = 0
    channel.send({"answers": answers, "seconds": time.process_time() - began}, payloads, end)


def _alarm(seconds: float) -> None:
    """End the process after so long, without a word; 0: not any more."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)  # whose signal nobody handles
    elif seconds:
        faulthandler.dump_traceback_later(seconds, exit=True, file=2)  # which leads nowhere
    else:
        faulthandler.cancel_dump_traceback_later()


def _answer(task: Task, content: bytes, arguments: dict[str, Any], room: _Room) -> tuple[dict[str, Any], Buffer]:
    try:
        fields, payload = task(content, room, **arguments)
        return {"fields": fields}, payload
    except (PhotoMemoryError, MemoryError):
        return {"error": NO_MEMORY, "memory": True}, b""
    except PhotoError as error:
        return {"error": str(error), "later": isinstance(error, PhotoForNowError)}, b""
    except Exception as error:  # no photo's fault: another version may do better
        return {"error": f"it cannot be decoded ({type(error).__name__})", "later": True}, b""


class _Room:
    """A part of the memory that all such processes share: more of it is asked for."""

    def __init__(self, channel: Channel, requests: Requests, free: int, seconds: float) -> None:
        """`free` pixels are taken without asking. A photo may take `seconds`, not counting how long it waits here."""
        self._channel = channel
        self._requests = requests
        self._free = free
        self._seconds = seconds

    @contextlib.contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Hold room for a picture of so many pixels."""
        if pixels <= self._free:
            yield
            return
        _alarm(0)
        self._channel.send({"room": pixels})
        self._requests.get()
        _alarm(PATIENCE * self._seconds + _LATER)
        try:
            yield
        finally:
            self._channel.send({"room": 0})
