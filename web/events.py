"""Server-sent events: one look at the index for all listeners, and none while nobody listens.

Written over plain ASGI rather than with sse-starlette: what that adds to a streaming response (comments that keep a
connection alive, a listener that leaves, the end of the server) is the few lines below, and its own way to hear of the
server's end is to patch uvicorn, whose server is ours to ask (`web.server`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from web.problems import ProblemError, displayable
from web.watching import NodeWatch, State, Watch

logger = logging.getLogger("sightline.web")
MOST_LISTENERS = 32
_EVERY_SECONDS = 1.0
_HEARTBEAT_SECONDS = 15.0
_SEND_SECONDS = 20.0
"""A listener that takes nothing for so long is dropped; until then it is owed the newest of each event, no queue."""
_RETRY = b"retry: 2000\n\n"
_HEARTBEAT = b": still here\n\n"


class Events:
    """Tells listeners of changes. To be used in the event loop alone."""

    def __init__(self, watch: Watch | NodeWatch) -> None:
        self._watch = watch
        self._listeners: set[_Listener] = set()
        self._task: asyncio.Task[None] | None = None
        self._state: State | None = None
        self._closed = False

    def listen(self) -> Response:
        """A response that tells of every change, until the client leaves or the server ends.

        Raises:
            ProblemError: 503 where too many listen already, or the server is ending.
        """
        if self._closed or len(self._listeners) >= MOST_LISTENERS:
            raise ProblemError(
                503,
                f"{MOST_LISTENERS} pages listen to this server already; close some of them.",
                headers={"Retry-After": "30"},
            )
        return _Stream(self)

    def close(self) -> None:
        """The server is ending: so does every stream, at once."""
        self._closed = True
        for listener in self._listeners:
            listener.leave()

    def join(self, listener: _Listener) -> None:
        """Tell `listener` of the present state, and of what comes."""
        self._listeners.add(listener)
        if self._closed:
            listener.leave()
        if self._state is not None:
            _tell(listener, None, self._state)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look_on())

    def forget(self, listener: _Listener) -> None:
        """`listener` is gone."""
        self._listeners.discard(listener)

    async def _look_on(self) -> None:
        try:
            while self._listeners:
                try:
                    state = await asyncio.to_thread(self._watch.look)
                except Exception:  # a fault of the program; the streams live on
                    logger.exception("the index could not be looked at")
                else:
                    for listener in self._listeners:
                        _tell(listener, self._state, state)
                    self._state = state
                await asyncio.sleep(_EVERY_SECONDS)
        finally:
            self._state = None
            self._watch.close()


def _tell(listener: _Listener, before: State | None, state: State) -> None:
    """Tell what has changed: of a job while it runs, and once how it has ended."""
    if before is None or state.status != before.status:
        listener.put("status", state.status)
    if state.job is not None and (state.job["state"] == "running" if before is None else state.job != before.job):
        listener.put("job", state.job)


class _Listener:
    """One who listens: what it has not been sent yet, the newest of each event."""

    def __init__(self) -> None:
        self._owed: dict[str, Any] = {}
        self._news = asyncio.Event()
        self.gone = False

    def put(self, event: str, document: dict[str, Any]) -> None:
        self._owed[event] = document
        self._news.set()

    def leave(self) -> None:
        self.gone = True
        self._news.set()

    async def take(self) -> bytes:
        """What is owed, or a comment where there is nothing for a while."""
        try:
            async with asyncio.timeout(_HEARTBEAT_SECONDS):
                await self._news.wait()
        except TimeoutError:
            return _HEARTBEAT
        self._news.clear()
        owed, self._owed = self._owed, {}
        lines = (
            f"event: {event}\ndata: {displayable(json.dumps(document, ensure_ascii=False, separators=(',', ':')))}\n\n"
            for event, document in owed.items()
        )
        return "".join(lines).encode()


class _Stream(Response):
    """The body of one listener's response."""

    media_type = "text/event-stream"

    def __init__(self, events: Events) -> None:
        # A proxy that gathers what it passes on would keep events back.
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        listener = _Listener()
        self._events.join(listener)
        leaving = asyncio.create_task(_until_gone(receive, listener))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            body = _RETRY
            while body and not listener.gone:
                async with asyncio.timeout(_SEND_SECONDS):
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                body = await listener.take()
            async with asyncio.timeout(_SEND_SECONDS):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            pass  # it takes nothing; ending without the last part makes the server cut the connection
        finally:
            leaving.cancel()
            self._events.forget(listener)


async def _until_gone(receive: Receive, listener: _Listener) -> None:
    # However it ends: a body that is too large ends in an error, and must not leave a listener behind.
    with contextlib.suppress(HTTPException):
        while (await receive())["type"] != "http.disconnect":
            pass
    listener.leave()
