"""A listener of server-sent events, as simple as the format (https://html.spec.whatwg.org/#event-stream-interpretation)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import httpx

Event = tuple[str, dict[str, Any]]


@contextlib.contextmanager
def listening(address: str, seconds: float = 60.0) -> Iterator[Iterator[Event]]:
    """Gives the events of `GET /api/events` one after the other; no silence may be longer than `seconds`."""
    with httpx.stream("GET", f"{address}api/events", timeout=seconds) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield _events(response)


def _events(response: httpx.Response) -> Iterator[Event]:
    name = ""
    for line in response.iter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)
