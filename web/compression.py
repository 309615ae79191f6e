"""Answers and the page's own files travel compressed; pictures, which are already, archives of them and streams of
events do not."""

from __future__ import annotations

import re

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

# Below it the header costs more than is saved.
_SMALLEST = 1000
_AS_IT_IS = re.compile(r"/api/(events|archive|photos/[^/]*/(thumb|picture|file))$")


class Compression:
    """Compresses what is text, by address: what a file of somebody's holds is not told from its media type alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._plain = app
        self._compressing = GZipMiddleware(app, minimum_size=_SMALLEST)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        as_it_is = scope["type"] != "http" or _AS_IT_IS.search(scope["path"])
        await (self._plain if as_it_is else self._compressing)(scope, receive, send)
