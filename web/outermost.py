"""The outermost layer: security headers on every answer, a problem document for every error, and metrics."""

from __future__ import annotations

import logging
import re
import time

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from search.catalog.soundness import explained
from search.errors import DamagedError
from search.home import Home
from web.index_figures import IndexFigures
from web.problems import MEDIA_TYPE, detail_for, problem, unavailable

logger = logging.getLogger("sightline.web")
requests_logger = logging.getLogger("sightline.web.requests")
_REQUEST_ID = re.compile(r"[!-~]{1,128}")

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'self'",
        "img-src 'self' blob: data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)
SECURITY_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
_SOUND_SECONDS = 60.0
_KEPT_OF_AN_ERROR = ("allow", "content-range", "www-authenticate", "connection", "retry-after")


class Metrics:
    """The figures of one app, in a registry of its own (tests make many apps in one process)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "sightline_http_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.latency = Histogram(
            "sightline_http_request_duration_seconds",
            "Time from a request's arrival to the end of its answer.",
            ["route"],
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=self.registry,
        )
        self.connections_refused = Counter(
            "sightline_connections_refused",
            "Connections that were not served, or not to the end.",
            ["reason"],
            registry=self.registry,
        )
        for reason in ("full", "malformed", "slow", "stalled"):
            self.connections_refused.labels(reason)  # so that each is there before it first happens
        self.index = IndexFigures(self.registry)

    def record(self, scope: Scope, status: int, seconds: float) -> None:
        """Count one answer. Routes and methods are named from what we know, so that a client cannot make
        the number of time series grow."""
        method = scope["method"] if scope["method"] in {"GET", "HEAD", "POST", "PUT", "DELETE"} else "other"
        if scope["path"].startswith("/static/"):
            route = "/static"
        else:
            route = getattr(scope.get("route"), "path", None) or "other"
        self.requests.labels(method, route, str(status)).inc()
        if route != "/api/events":  # which ends when its listener leaves
            self.latency.labels(route).observe(seconds)


class Outermost:
    """Wraps everything else; whatever happens inside, a complete and safe answer leaves."""

    def __init__(self, app: ASGIApp, metrics: Metrics, home: Home) -> None:
        self.app = app
        self.metrics = metrics
        self.home = home
        self._sound_until = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, and count it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0
        replacement: Response | None = None

        async def outgoing(message: Message) -> None:
            nonlocal status, replacement
            if message["type"] == "http.response.start" and status == 0:
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                if status >= 400 and not headers.get("content-type", "").startswith(MEDIA_TYPE):
                    # The framework's own errors (a bad Range header, say) come as plain text.
                    kept = {name: headers[name] for name in _KEPT_OF_AN_ERROR if name in headers}
                    replacement = problem(status, detail_for(status), headers=kept)
                    await replacement(scope, receive, _with_security(send))
                    return
            if replacement is None:
                await send(message)

        try:
            await self.app(scope, receive, outgoing)
        except Exception as error:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            if status != 0:
                raise
            damage = await run_in_threadpool(self._damage, error)
            answer = problem(500, detail_for(500)) if damage is None else unavailable(damage)
            status = answer.status_code
            await answer(scope, receive, _with_security(send))
        finally:
            seconds = time.perf_counter() - started
            self.metrics.record(scope, status, seconds)
            _log(scope, status, seconds)

    def _damage(self, error: Exception) -> DamagedError | None:
        """The damage to the catalog that an error comes of, which may be any error. A catalog that was found sound is
        not looked at again for a while: that takes seconds where it is large."""
        if time.monotonic() < self._sound_until:
            return None
        damage = explained(self.home, error)
        if damage is None:
            self._sound_until = time.monotonic() + _SOUND_SECONDS
        return damage


def _log(scope: Scope, status: int, seconds: float) -> None:
    """A line for a request, without its query: what people look for is theirs, and a token may stand there."""
    if not requests_logger.isEnabledFor(logging.INFO):
        return
    client = scope.get("client")
    fields = {
        "method": scope["method"],
        "path": scope["path"],
        "status": status,
        "ms": round(seconds * 1000, 1),
        "client": client[0] if client else None,
    }
    given = Headers(scope=scope).get("x-request-id", "")
    if _REQUEST_ID.fullmatch(given):
        fields["request_id"] = given
    requests_logger.info(
        "%s %s: %s in %s ms", fields["method"], fields["path"], status, fields["ms"], extra={"fields": fields}
    )


def _with_security(send: Send) -> Send:
    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = Headers(raw=message["headers"])
            message["headers"] = [
                *message["headers"],
                *[(k.encode(), v.encode()) for k, v in SECURITY_HEADERS.items() if k not in present],
            ]
        await send(message)

    return sender
