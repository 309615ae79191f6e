"""What a process with a GPU may do at its worst, for tests: what it does is the place that it is given."""

from __future__ import annotations

import os
import signal
from typing import Any

from indexer.decoding.tasks import Outcome
from search.errors import PhotoForNowError


def begin(content: bytes, room: object, *, place: str, saves: bool) -> Outcome:
    if place == "not there":
        raise PhotoForNowError("no driver")
    return {}, b""


def measured_together(content: bytes, room: object, *, place: str, lengths: list[int], **_: Any) -> Outcome:
    if place == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    if place == "refuses":
        return {"photos": [None] * len(lengths), "why": "nvjpegDecode failed: 6"}, b""
    nonsense: dict[str, dict[str, Any]] = {
        "loses photos": {"photos": [], "why": ""},
        "lies about sizes": {"photos": [{"size": [10**6, 10**6]}] * len(lengths), "why": ""},
        "says nothing": {},
    }
    return nonsense[place], b""
