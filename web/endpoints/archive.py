"""The endpoint that gives several photos in one file."""

from __future__ import annotations

import contextlib
from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from web.access import EngineAccess
from web.archives import Archive
from web.documents.document import PHOTO_ID
from web.photo_files import checked_id
from web.problems import ProblemError, responses

MOST_PHOTOS = 1000
AT_ONCE = 4
"""Archives that are sent at a time: each may read a disk for as long as it takes."""


class _Slots:
    """How many archives are on their way."""

    def __init__(self) -> None:
        self._free = AT_ONCE

    def take(self) -> None:
        """One more; raises `ProblemError` 503 when they are too many."""
        if not self._free:
            raise ProblemError(
                503,
                "Too many archives are being downloaded at once; wait until one is done.",
                headers={"Retry-After": "10"},
            )
        self._free -= 1

    def give_back(self) -> None:
        self._free += 1


class _Download(StreamingResponse):
    """Sends an archive, and gives back its slot however that ends."""

    def __init__(self, archive: Archive, slots: _Slots, name: str) -> None:
        headers = {
            "content-length": str(len(archive)),
            "content-disposition": f'attachment; filename="{name}"',
            "cache-control": "no-store",
            "x-accel-buffering": "no",
            # The page downloads it into a hidden frame of its own.
            "content-security-policy": "default-src 'none'; frame-ancestors 'self'",
        }
        super().__init__(iter(archive), media_type="application/zip", headers=headers)
        self._slots = slots

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with contextlib.suppress(ClientDisconnect):
                await super().__call__(scope, receive, send)
        finally:
            self._slots.give_back()


def archive_router(access: EngineAccess) -> APIRouter:
    """`/api/archive`."""
    router = APIRouter(tags=["photos"])
    slots = _Slots()

    @router.post(
        "/api/archive",
        summary="Several photos in one zip file",
        response_model=None,
        response_class=Response,
        responses={
            200: {
                "description": "The archive; `Content-Length` tells its size.",
                "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
            },
            **responses(403, 404, 413, 422, 503),
        },
    )
    async def archive(
        photos: Annotated[
            str,
            Form(description=f"Their ids, with blanks between; at most {MOST_PHOTOS:,}.", examples=[PHOTO_ID]),
        ],
    ) -> Response:
        """The files as they are, not compressed. It is sent while it is read, and takes no room on the server."""
        ids = list(dict.fromkeys(photos.split()))
        if not 1 <= len(ids) <= MOST_PHOTOS:
            raise ProblemError(422, f"An archive holds 1 to {MOST_PHOTOS:,} photos; {len(ids):,} were asked for.")
        for photo_id in ids:
            checked_id(photo_id)
        slots.take()
        try:
            made = await run_in_threadpool(lambda: Archive({each: access.engine().photo(each) for each in ids}))
            return _Download(made, slots, f"sightline-{len(ids)}-photo{'s' if len(ids) > 1 else ''}.zip")
        except BaseException:
            slots.give_back()
            raise

    return router
