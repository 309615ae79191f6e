"""Connections: how long a client may take over a request and over an answer, and how many connections there may be.

uvicorn bounds neither of the first, and answers in plain text where there are too many. What is here are the times and
rates that other servers have for that (Apache's mod_reqtimeout, nginx's `send_timeout` and `lingering_close`), looked
at once a second for all connections rather than with timers for each.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import socket
import sys
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, cast

import h11
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from web.outermost import SECURITY_HEADERS
from web.problems import problem

logger = logging.getLogger("sightline.web")
HEAD_SECONDS = 20.0
"""A request line and its headers must have come by then."""
BODY_SECONDS = 20.0
BODY_RATE = 1000.0
"""Of a body so many bytes a second must come, in each so many seconds from the end of the headers on."""
STALLED_SECONDS = 60.0
"""A client that takes nothing of an answer for so long is given up."""
LINGER_SECONDS = 30.0
LINGER_SILENCE_SECONDS = 5.0
"""What is sent of a body that is not wanted any more is thrown away for so long, and until nothing has come for so
long: a client that is cut off while it sends does not read the answer that says why."""
IDLE_SECONDS = 2.0
"""Where there are too many connections, those that have asked nothing for so long make room."""
FULL_SECONDS = 5.0
UNSENT_BYTES = 128 * 1024
"""The system holds so much of what it has not sent yet: of what it does hold nobody sees how much a client takes."""
# uvicorn's warning of each request that is none would let anyone fill the log; what is answered is said below.
_quiet = logging.getLogger("sightline.web.uvicorn")
_quiet.addFilter(lambda record: record.msg != "Invalid HTTP request received.")
_SAID_AGAIN_SECONDS = 60.0


class Connection(H11Protocol):
    """One connection of a client; uvicorn's `limit_concurrency` is how many are served at a time."""

    _said = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come."""
        self._transport = transport
        self._since = self._heard = self._moved = time.monotonic()
        self._taken = self._given = self._sent = 0
        self._lingering = self._turned_away = False
        self.logger = _quiet
        set_up(transport.get_extra_info("socket"))
        super().connection_made(cast(asyncio.Transport, _Lingering(transport, self)))
        most, self.limit_concurrency = self.limit_concurrency, None
        if most is None or len(self.connections) <= most:
            return
        if len(self.connections) > 2 * most:
            self._count("full")
            transport.abort()
            return
        idle = [
            cast(Connection, other) for other in self.connections if cast(Connection, other)._idle_since(self._since)
        ]
        if idle:
            min(idle, key=lambda other: other._since)._transport.abort()
            return
        self._count("full")
        self._turned_away = True
        self.app = _full
        if self._since - Connection._said > _SAID_AGAIN_SECONDS:
            Connection._said = self._since
            logger.warning("there are more than %d connections; further ones are asked to come again", most)

    def data_received(self, data: bytes) -> None:
        """Something has come."""
        self._heard = time.monotonic()
        if self._lingering:
            return
        self._taken += len(data)
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:  # the headers are complete: the body has its own time
            self._since, self._taken = self._heard, 0

    def on_response_complete(self) -> None:
        """An answer has been written; what follows is the next request, or the rest of a body that nobody read."""
        self._since, self._taken = time.monotonic(), 0
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        error = sys.exception()
        large = isinstance(error, h11.RemoteProtocolError) and error.error_status_hint == 431
        self._count("malformed")
        self._refuse(
            problem(431, "The headers of the request are too large: at most 16 KiB are taken.")
            if large
            else problem(400, "That is no request of HTTP/1.1 as this server understands it.")
        )

    def _unsupported_upgrade_warning(self) -> None:
        pass  # the request is answered as if nothing else had been asked for, and a log is not for anyone to fill

    def look(self, now: float) -> None:
        """Let go of the client if it takes too long. To be called about once a second."""
        unsent = self._transport.get_write_buffer_size()
        if not unsent or self._given - unsent > self._sent:
            self._moved, self._sent = now, self._given - unsent
        if unsent:
            if now - self._moved > STALLED_SECONDS:
                self._count("stalled")
                self._transport.abort()
            return
        if self._transport.is_closing():
            return
        waited = now - self._since
        if self._lingering or (self.conn.their_state is h11.SEND_BODY and self.cycle.response_complete):
            if waited > LINGER_SECONDS or now - self._heard > LINGER_SILENCE_SECONDS:
                self._transport.abort()
        elif self.conn.their_state is h11.SEND_BODY:
            if self.flow.read_paused:  # it is the server that is slow
                self._since, self._taken = now, 0
            elif waited > BODY_SECONDS:
                if self._taken < BODY_RATE * BODY_SECONDS:
                    self._count("slow")
                    self._refuse(problem(408, "The body of the request took too long to arrive; send it again."))
                self._since, self._taken = now, 0
        elif self._between_requests and waited > (FULL_SECONDS if self._turned_away else HEAD_SECONDS):
            if self._taken:
                self._count("slow")
                self._refuse(problem(408, "The request took too long to arrive; send it again."))
            else:
                self._transport.close()

    @property
    def _between_requests(self) -> bool:
        return self.conn.their_state is h11.IDLE and (self.cycle is None or self.cycle.response_complete)

    def _count(self, reason: str) -> None:
        self.config.app.state.connection_refused(reason)  # type: ignore[union-attr]

    def _idle_since(self, now: float) -> bool:
        return (
            self._between_requests
            and not self._transport.is_closing()
            and not self._transport.get_write_buffer_size()
            and now - self._since > IDLE_SECONDS
        )

    def _refuse(self, answer: Response) -> None:
        """Answer in the place of the application, where no answer has begun yet, and close."""
        wants_body = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # the application learns that nobody waits for it
            self.cycle.message_event.set()
            wants_body = self.cycle.scope["method"] != "HEAD"
        logger.info("%s: %s", self.client[0] if self.client else "a client", _sentence(answer))
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            headers = [
                *answer.raw_headers,
                *((name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()),
                (b"connection", b"close"),
            ]
            reason = HTTPStatus(answer.status_code).phrase
            for event in (
                h11.Response(status_code=answer.status_code, headers=headers, reason=reason.encode()),
                *([h11.Data(data=bytes(answer.body))] if wants_body else []),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def give_up(self) -> None:
        """Let go of the client at once."""
        self._transport.abort()

    def linger(self) -> bool:
        """Say that nothing more comes, and throw away what the client still sends. Whether that makes sense."""
        if self._lingering or self.conn.their_state not in (h11.SEND_BODY, h11.ERROR) or self._transport.is_closing():
            return False
        self._lingering = True
        self._since = self._heard = time.monotonic()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self.flow.resume_reading()
        return True


class _Lingering:
    """A transport that is closed in two steps where the client is still sending, and counts what it is given."""

    def __init__(self, transport: asyncio.Transport, connection: Connection) -> None:
        self._transport = transport
        self._connection = connection

    def write(self, data: bytes) -> None:
        self._connection._given += len(data)
        self._transport.write(data)

    def close(self) -> None:
        if not self._connection.linger():
            self._transport.close()

    def is_closing(self) -> bool:
        return self._connection._lingering or self._transport.is_closing()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def said_once_a_minute() -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """A handler of an event loop's errors: where no connection can be accepted for want of open files, asyncio tries
    again by itself, and would fill the log meanwhile."""
    said = -_SAID_AGAIN_SECONDS

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal said
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)):
            loop.default_exception_handler(context)
        elif time.monotonic() - said >= _SAID_AGAIN_SECONDS:
            said = time.monotonic()
            logger.error("no connection can be accepted just now: %s", error.strerror)

    return handle


def look_after(connections: Iterable[Any]) -> None:
    """Look at all connections once. To be called about once a second."""
    now = time.monotonic()
    for connection in list(connections):
        try:
            connection.look(now)
        except (
            Exception
        ):  # what is wrong with one connection must not end the server, from whose own loop this is called
            logger.exception("a connection could not be looked after, and is given up")
            connection.give_up()


def set_up(connection: socket.socket | None) -> None:
    """Let the system hold little that is not sent yet, and send at once what it is given: else the body of an answer
    waits until its head is acknowledged, for which clients take 40 ms."""
    for name, value in (("TCP_NOTSENT_LOWAT", UNSENT_BYTES), ("TCP_NODELAY", 1)):
        option = getattr(socket, name, None)
        if connection is not None and option is not None:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, option, value)


def _sentence(answer: Response) -> str:
    return str(json.loads(bytes(answer.body))["detail"])


async def _full(scope: Scope, receive: Receive, send: Send) -> None:
    headers = {**SECURITY_HEADERS, "Retry-After": "2", "Connection": "close"}
    await problem(503, "This server has as many visitors as it can serve; try again in a moment.", headers=headers)(
        scope, receive, send
    )
