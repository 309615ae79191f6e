"""Taking turns: of what costs much, a few requests are answered at a time, in the order in which they came."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
from starlette.requests import Request

from web.problems import ProblemError


class Turns:
    """A queue for one kind of request. To be used on the event loop."""

    def __init__(self, at_once: int, most_waiting: int) -> None:
        """Let `at_once` requests go on at a time, and `most_waiting` others wait for that."""
        self._limiter = anyio.CapacityLimiter(at_once)
        self._most_waiting = most_waiting
        self._waiting: list[Request] = []

    @asynccontextmanager
    async def turn(self, request: Request, if_waiting: Callable[[], None] = lambda: None) -> AsyncIterator[None]:
        """Wait for a turn, and keep it while inside. `if_waiting` is called where there is no turn at once.

        Raises:
            ProblemError: 503 where too many wait already; 499 where the client has gone meanwhile, as a page does that
                asks anew with each key: what nobody waits for should keep nobody waiting.
        """
        if len(self._waiting) >= self._most_waiting:
            # Whoever has gone is answered when the turn comes, but takes no place until then. Asking each takes a
            # moment, in which others come and go.
            gone = [other for other in list(self._waiting) if await other.is_disconnected()]
            self._waiting = [other for other in self._waiting if other not in gone]
        if len(self._waiting) >= self._most_waiting:
            raise ProblemError(
                503, "Too much is asked of this server at once; try again in a moment.", headers={"Retry-After": "2"}
            )
        self._waiting.append(request)
        try:
            if self._limiter.available_tokens < 1:
                if_waiting()
            await self._limiter.acquire()
        finally:
            self._waiting = [other for other in self._waiting if other is not request]
        try:
            if await request.is_disconnected():
                raise ProblemError(499, "The client did not wait for the answer.")
            yield
        finally:
            self._limiter.release()
