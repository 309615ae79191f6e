"""Tasks of a process that decodes, for tests: as the real ones, but that photos with certain words in them do harm.

No file is known that crashes the decoders of today for certain; tomorrow's crash will look like these.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import re
import signal
import sys
import time
from typing import Any

from indexer.decoding import tasks
from indexer.decoding.tasks import Outcome
from indexer.pixels import Room
from search.errors import PhotoError

SEGFAULT, ABORT, KILLED, ENDLESS, UNREACHABLE = b"<segfault>", b"<abort>", b"<killed>", b"<endless>", b"<unreachable>"
GREEDY, SHARED_GREED, CRAMPED, LYING, FRAGILE = b"<greedy>", b"<shared greed>", b"<cramped>", b"<lying>", b"<fragile>"
SAYING = b"<saying>"
"""What follows is a document of fields that take the place of the true ones, or an `error`."""
STILL, TERMINATED, ENDED = b"<still>", b"<terminated>", b"<ended>"
_served = 0


def _harm(content: bytes) -> None:
    global _served
    _served += 1
    if SEGFAULT in content:
        ctypes.string_at(0)
    if ABORT in content:
        os.abort()
    if KILLED in content:
        os.kill(os.getpid(), signal.SIGKILL)
    if ENDLESS in content:
        while True:
            pass
    if STILL in content:
        time.sleep(1000)
    if TERMINATED in content:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1000)
    if ENDED in content:
        os._exit(3)
    if UNREACHABLE in content:
        re.match(r"(a+)+$", "a" * 60 + "b")  # lets no other thread of Python run for ages
    if GREEDY in content:
        bytearray(2**40)
    if SHARED_GREED in content:  # no limit of the process's own data holds this up
        memory = mmap.mmap(-1, 2**29)
        for at in range(0, len(memory), 4096):
            memory[at] = 1
        time.sleep(60)
    if FRAGILE in content and _served > 1:
        ctypes.string_at(0)
    if CRAMPED in content and _served > 1:
        raise MemoryError


def measured(content: bytes, room: Room, **arguments: Any) -> Outcome:
    """As the real one, but for harm, and for what a photo says that is to be answered of it."""
    _harm(content)
    fields, pixels = tasks.measured(content, room, **arguments)
    _, said, document = content.partition(SAYING)
    if b"error" in document[:8]:
        raise PhotoError(json.loads(document)["error"])
    return {**fields, **(json.loads(document) if said else {})}, pixels


def picture(content: bytes, room: Room, **arguments: Any) -> Outcome:
    """As the real one, but for harm."""
    _harm(content)
    fields, pixels = tasks.picture(content, room, **arguments)
    return ({"size": [10**9, 10**9]} if LYING in content else fields), pixels


def thumbnail(content: bytes, room: Room, **arguments: Any) -> Outcome:
    """As the real one, but for harm."""
    _harm(content)
    return tasks.thumbnail(content, room, **arguments)


def full_picture(content: bytes, room: Room, **arguments: Any) -> Outcome:
    """As the real one, but for harm."""
    _harm(content)
    return tasks.full_picture(content, room, **arguments)


is_upright = tasks.is_upright


def modules(content: bytes, room: Room) -> Outcome:
    """What the process has imported."""
    return {"modules": [name for name in sys.modules if "." not in name]}, b""
