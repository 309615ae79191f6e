"""The pictures of one photo: its thumbnails, the whole of it as browsers show it, and the file itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from indexer.pictures import SHOWN_BY_BROWSERS, full_picture, shown_as_it_is
from indexer.thumbnails import Thumbnails
from search.catalog.photo import Photo
from search.errors import PhotoError
from web.access import EngineAccess
from web.documents.photos import Size
from web.photo_files import PhotoId, at_hand, checked_id, find_file, known_photo, safe_name, thumbnail
from web.problems import ProblemError, responses
from web.turns import Turns
from web.uploads import Decoder

# Only formats that cannot run script are shown in the browser; whatever else is in the catalog is saved.
MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "TIFF": "image/tiff",
    "BMP": "image/bmp",
    "AVIF": "image/avif",
    "HEIC": "image/heic",
}
SAVED = "application/octet-stream"
MOST_WAITING = 8
"""Requests for pictures to convert that may wait for their turn."""
# Whatever a file holds, opened on its own it may do nothing.
_HARMLESS = {"content-security-policy": "default-src 'none'; sandbox"}


def picture_router(access: EngineAccess, thumbnails: Thumbnails, decoder: Decoder) -> APIRouter:
    """`/api/photos/{id}/thumb`, `/picture` and `/file`."""
    router = APIRouter(tags=["photos"])
    # One at a time: a picture at the limit of pixels takes gigabytes while it is converted.
    turns = Turns(1, MOST_WAITING)

    def located(photo_id: str) -> tuple[Photo, bytes, os.stat_result]:
        photo = known_photo(access, photo_id)
        return photo, *find_file(photo)

    def shown(photo: Photo, path: bytes) -> bool:
        if photo.format not in SHOWN_BY_BROWSERS:
            return False
        with at_hand(photo, path) as file:
            return shown_as_it_is(os.fsencode(file), photo.format, decoder.decoders)

    picture = {"schema": {"type": "string", "format": "binary"}}

    @router.head("/api/photos/{photo_id}/thumb", include_in_schema=False)
    @router.get(
        "/api/photos/{photo_id}/thumb",
        summary="A thumbnail of a photo",
        response_model=None,
        response_class=Response,
        responses={
            200: {"description": "A WebP picture.", "content": {"image/webp": picture}},
            304: {"description": "The client has it already (`If-None-Match`)."},
            **responses(404, 422, 503),
        },
    )
    async def thumb(
        request: Request,
        photo_id: PhotoId,
        size: Annotated[
            Size, Query(description="`small` for grids, `medium` for grids on dense screens, `large` for a screen.")
        ] = "small",
    ) -> Response:
        """Upright, in the photo's own proportions. Made when it is first asked for, then kept."""
        etag = f'"{checked_id(photo_id)}-{size}"'
        photo = await run_in_threadpool(known_photo, access, photo_id)
        if _has_already(request, etag):
            return Response(status_code=304, headers=_caching(etag))
        made = await thumbnail(thumbnails, decoder, photo, size)
        return Response(made, media_type="image/webp", headers=_caching(etag))

    @router.head("/api/photos/{photo_id}/file", include_in_schema=False)
    @router.get(
        "/api/photos/{photo_id}/file",
        summary="The photo's file",
        response_model=None,
        response_class=Response,
        responses={
            200: {
                "description": "The file, byte for byte.",
                "content": dict.fromkeys(sorted({*MEDIA_TYPES.values(), SAVED}), picture),
            },
            206: {"description": "The range of bytes that was asked for."},
            304: {"description": "The client has it already (`If-None-Match`)."},
            **responses(400, 404, 416, 503),
        },
    )
    async def file(request: Request, photo_id: PhotoId) -> Response:
        """The original, as it lies on the disk; ranges of bytes may be asked for."""
        photo, path, state = await run_in_threadpool(located, photo_id)
        etag = f'"{photo.id}"'
        if _has_already(request, etag):
            return Response(status_code=304, headers=_caching(etag))
        return _PhotoFile(photo, path, state)

    @router.head("/api/photos/{photo_id}/picture", include_in_schema=False)
    @router.get(
        "/api/photos/{photo_id}/picture",
        summary="The whole photo, as browsers show it",
        response_model=None,
        response_class=Response,
        responses={
            200: {
                "description": "The file, or a JPEG that was made from it.",
                "content": {MEDIA_TYPES[name]: picture for name in sorted(SHOWN_BY_BROWSERS)},
            },
            206: {"description": "The range of bytes that was asked for, of a file."},
            304: {"description": "The client has it already (`If-None-Match`)."},
            **responses(400, 404, 416, 503),
        },
    )
    async def whole(request: Request, photo_id: PhotoId) -> Response:
        """Upright and at full size: the file itself where every browser shows it so, else converted to JPEG."""
        photo, path, state = await run_in_threadpool(located, photo_id)
        made = f'"{photo.id}-picture"'
        # Whichever it is: it does not change between two requests.
        for etag in (f'"{photo.id}"', made):
            if _has_already(request, etag):
                return Response(status_code=304, headers=_caching(etag))
        headers = {**_caching(made), **_HARMLESS, "content-disposition": "inline"}
        try:
            if await run_in_threadpool(shown, photo, path):
                return _PhotoFile(photo, path, state)
            if request.method == "HEAD":
                return _without_content("image/jpeg", headers)
            async with turns.turn(request):
                content = await run_in_threadpool(full_picture, photo.id, path, decoder.decoders)
        except PhotoError as error:
            raise ProblemError(404, f"The photo cannot be shown at full size: {error}.") from error
        return Response(content, media_type="image/jpeg", headers=headers)

    return router


class _PhotoFile(FileResponse):
    """A photo's file, byte for byte."""

    def __init__(self, photo: Photo, path: bytes, state: os.stat_result) -> None:
        media_type = MEDIA_TYPES.get(photo.format)
        place = Path(os.fsdecode(path))
        super().__init__(
            place,
            media_type=media_type or SAVED,
            filename=safe_name(place),
            content_disposition_type="inline" if media_type else "attachment",
            headers={**_caching(f'"{photo.id}"'), **_HARMLESS},
            stat_result=state,
        )
        self._at_hand = at_hand(photo, path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":
            await super().__call__(scope, receive, send)
            return
        try:
            self.path = await run_in_threadpool(self._at_hand.__enter__)
        except PhotoError as error:
            raise ProblemError(404, f"The photo's file cannot be read: {error}.") from error
        try:
            await super().__call__(scope, receive, send)
        finally:
            await run_in_threadpool(self._at_hand.__exit__, None, None, None)


def _without_content(media_type: str, headers: dict[str, str]) -> Response:
    answer = Response(media_type=media_type, headers=headers)
    del answer.headers["content-length"]  # which would have to be made to be known
    return answer


def _caching(etag: str) -> dict[str, str]:
    return {"ETag": etag, "Cache-Control": "private, max-age=86400"}


def _has_already(request: Request, etag: str) -> bool:
    given = request.headers.get("if-none-match", "")
    return any(tag.strip().removeprefix("W/") in (etag, "*") for tag in given.split(","))
