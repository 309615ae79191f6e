"""What a request must pass before any endpoint sees it: host, token, origin, and the size of its body.

Written as plain ASGI, so that bodies stream through and a refusal costs nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import socket
from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.problems import problem
from web.settings import ServerSettings

Check = Callable[[Request], Response | None]
COOKIE = "sightline_token"
# Room for the other fields of a multipart form and for its boundaries.
FORM_OVERHEAD = 64 * 1024
SMALL_BODY = 64 * 1024
"""The most bytes of a body that carries no pictures: JSON and forms grow tenfold and more when they are understood."""
MOST_HELD = 256 * 1024 * 1024
"""The most bytes of pictures to search by, all together, that the server holds at a time."""
_UPLOADS = "/api/search"
_BUSY = "This server holds as many uploads as it can just now; try again in a moment."
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def host_of(header: str) -> str:
    """The host of a `Host` header in lower case: without its port, and an IPv6 address without brackets."""
    header = header.strip().lower()
    if re.search(r"[/?#@\\\s]", header):  # what ends a host inside an address, to whoever builds one from it
        return ""
    if header.startswith("["):
        host, closed, port = header[1:].partition("]")
        return host if closed and re.fullmatch(r"(:[0-9]*)?", port) else ""
    host, _, port = header.partition(":")
    return host.rstrip(".") if not port or (port.isascii() and port.isdigit()) else ""


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def check_host(settings: ServerSettings) -> Check:
    """Refuse requests for a name that is not ours: a page elsewhere may have pointed its own name at this
    machine (DNS rebinding), and the browser would then let it read the answers.
    """
    allowed = {"localhost", "127.0.0.1", "::1", host_of(settings.host), settings.host.lower()}
    allowed |= {host_of(name) for name in settings.allowed_hosts}
    bound = _address(settings.host)
    beyond_loopback = bound is not None and not bound.is_loopback
    if bound is not None and bound.is_unspecified:
        own = socket.gethostname().lower()
        allowed |= {own, f"{own}.local"}

    def check(request: Request) -> Response | None:
        headers = request.headers.getlist("host")
        host = host_of(headers[0]) if len(headers) == 1 else ""
        # An attacker can rebind a name, never an address: when bound beyond loopback any address will do.
        if host in allowed or (beyond_loopback and _address(host) is not None):
            return None
        return problem(
            400,
            "This server does not answer to that host name. Use the address that `sightline serve` printed, "
            "or start it with `--allow-host` and this name.",
        )

    return check


def cookie_value(token: str) -> str:
    """What the cookie holds: derived from the token, which a leaked cookie jar then does not give away."""
    return hmac.new(token.encode(), b"sightline cookie", hashlib.sha256).hexdigest()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def check_token(token: str) -> Check:
    """Ask for the token on every path but `/healthz`: as a bearer header, or as the cookie of `/?token=…`."""
    cookie = cookie_value(token)

    def check(request: Request) -> Response | None:
        if request.scope["path"] == "/healthz":
            return None
        given = request.query_params.get("token")
        if request.scope["path"] == "/" and given is not None and _same(given, token):
            # The token leaves the address at once: it should not stay in the history or in a screenshot.
            rest = urlencode([pair for pair in request.query_params.multi_items() if pair[0] != "token"])
            answer = RedirectResponse("/?" + rest if rest else "/", 303)
            answer.set_cookie(
                COOKIE,
                cookie,
                max_age=365 * 24 * 3600,
                httponly=True,
                samesite="strict",
                secure=request.url.scheme == "https",
            )
            return answer
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _same(bearer.strip(), token):
            return None
        if _same(request.cookies.get(COOKIE, ""), cookie):
            return None
        return problem(
            401,
            "This server asks for a token: the one that `sightline serve` was started with. Open this address with "
            "`/?token=…` at its end, or send the header `Authorization: Bearer …`.",
            headers={"WWW-Authenticate": 'Bearer realm="sightline"'},
        )

    return check


def check_origin(request: Request) -> Response | None:
    """Refuse what a page of another site sends: writes, uploads, and questions, whose answers it may not read but
    which would keep the server busy; a link that is followed is none of these. Programs send no such header."""
    site = request.headers.get("sec-fetch-site")
    if request.method in _SAFE_METHODS:
        asked = request.scope["path"].startswith("/api/") and request.headers.get("sec-fetch-mode") != "navigate"
        return _other_site() if asked and site == "cross-site" else None
    origin = request.headers.get("origin")
    crossed = site is not None and site not in {"same-origin", "none"}
    if origin is not None and not crossed:
        try:
            crossed = urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower()
        except ValueError:
            crossed = True
    return _other_site() if crossed else None


def _other_site() -> Response:
    return problem(403, "Only this server's own page may send this request from a browser.")


class Guard:
    """Runs the checks, then passes the request on with its body counted.

    Raises (into the endpoint that reads the body): `HTTPException` 413 when the body outgrows the limit, 503 when all
    bodies together do.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self.app = app
        self.max_upload = settings.max_upload_bytes + FORM_OVERHEAD
        self.held = 0
        self.checks: list[Check] = [check_host(settings)]
        if settings.token is not None:
            self.checks.append(check_token(settings.token))
        self.checks.append(check_origin)
        self.too_large = (
            f"The upload is too large: at most {settings.max_upload_bytes / 2**20:g} MiB are taken. "
            "Send a smaller copy of the picture."
        )

    def _refusal(self, request: Request) -> Response | None:
        for check in self.checks:
            if (refusal := check(request)) is not None:
                return refusal
        length = request.headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            return problem(400, "The Content-Length header is not a number.")
        if len(length) > 15 or int(length) > self._most(request):
            # The rest of the body will not be read, so the connection is of no further use.
            return problem(413, self._too_large(request), headers={"Connection": "close"})
        return None

    def _most(self, request: Request) -> int:
        """How many bytes the body of this request may have."""
        form = request.headers.get("content-type", "").lower().startswith("multipart/")
        return self.max_upload if form and request.scope["path"] == _UPLOADS else SMALL_BODY

    def _too_large(self, request: Request) -> str:
        if self._most(request) == self.max_upload:
            return self.too_large
        return f"The request is too large: at most {SMALL_BODY // 1024} KiB are taken here. Ask for less at once."

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request with a refusal, or hand it on."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        refusal = self._refusal(request)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        most, taken, held = self._most(request), 0, 0

        async def counted() -> Message:
            nonlocal taken, held
            message = await receive()
            if message["type"] == "http.request":
                length = len(message.get("body", b""))
                taken += length
                if taken > most:
                    raise HTTPException(413, self._too_large(request), {"Connection": "close"})
                if most <= SMALL_BODY:
                    return message  # the number of connections bounds those
                self.held += length
                held += length
                if self.held > MOST_HELD:
                    raise HTTPException(503, _BUSY, {"Connection": "close", "Retry-After": "5"})
            return message

        try:
            await self.app(scope, counted, send)
        finally:
            self.held -= held
