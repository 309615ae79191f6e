"""The endpoints of one photo: what is known and said about it, its thumbnails, and the file itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response

from indexer.thumbnails import Thumbnails
from search.catalog import paths as catalog_paths
from search.catalog.descriptions import TextLine
from search.catalog.editing import put_caption
from search.catalog.photo import Photo
from web.access import EngineAccess
from web.answers import json_answer
from web.documents.photos import CaptionEdit, PhotoDocument, Size
from web.photo_files import PhotoId, checked_id, find_file, known_photo, safe_name, thumbnail
from web.problems import displayable, responses
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


def photo_json(photo: Photo, tags: Sequence[tuple[str, float]], text: Sequence[TextLine]) -> dict[str, Any]:
    """The document of one photo (`PhotoDocument`), with its `tags` and the `text` that was read in it."""
    paths = [displayable(catalog_paths.display(path)) for path in photo.paths]
    base = f"/api/photos/{photo.id}"
    return {
        "id": photo.id,
        "path": paths[0] if paths else "",
        "paths": paths,
        "width": photo.width,
        "height": photo.height,
        "format": photo.format,
        "bytes": photo.bytes,
        "taken_at": photo.taken_at,
        "camera": photo.camera,
        "lens": photo.lens,
        "latitude": photo.latitude,
        "longitude": photo.longitude,
        "caption": photo.caption,
        "caption_by": photo.caption_by,
        "kind": photo.kind,
        "tags": [{"tag": tag, "score": score} for tag, score in tags],
        "text": [asdict(line) for line in text],
        "added_at": photo.added_at,
        "urls": {
            "thumb": f"{base}/thumb?size=small",
            "medium": f"{base}/thumb?size=medium",
            "large": f"{base}/thumb?size=large",
            "file": f"{base}/file",
            "similar": f"{base}/similar",
        },
    }


def photo_router(access: EngineAccess, thumbnails: Thumbnails, decoder: Decoder) -> APIRouter:
    """`/api/photos/{id}`, `/caption`, `/thumb` and `/file`."""
    router = APIRouter(tags=["photos"])

    def located(photo_id: str) -> tuple[Photo, Path, os.stat_result]:
        photo = known_photo(access, photo_id)
        return photo, *find_file(photo)

    def described(photo: Photo) -> Response:
        engine = access.engine()
        return json_answer(photo_json(photo, engine.tags(photo), engine.text_lines(photo)))

    @router.get(
        "/api/photos/{photo_id}",
        summary="What is known about a photo",
        response_model=None,
        responses={200: {"model": PhotoDocument}, **responses(404, 503)},
    )
    def photo(photo_id: PhotoId) -> Response:
        """Where a photo lies, what it shows, and what its camera recorded."""
        return described(known_photo(access, photo_id))

    @router.put(
        "/api/photos/{photo_id}/caption",
        summary="Say what a photo shows",
        response_model=None,
        responses={200: {"model": PhotoDocument}, **responses(403, 404, 422, 503)},
    )
    def caption(photo_id: PhotoId, edit: CaptionEdit) -> Response:
        """Keep a caption of one's own: it is shown and searched before a captioner's, which never overwrites it."""
        return described(put_caption(access.home, checked_id(photo_id), edit.caption))

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
        media_type = MEDIA_TYPES.get(photo.format)
        return FileResponse(
            path,
            media_type=media_type or SAVED,
            filename=safe_name(path),
            content_disposition_type="inline" if media_type else "attachment",
            # Whatever the file holds, opened on its own it may do nothing.
            headers={**_caching(etag), "content-security-policy": "default-src 'none'; sandbox"},
            stat_result=state,
        )

    return router


def _caching(etag: str) -> dict[str, str]:
    return {"ETag": etag, "Cache-Control": "private, max-age=86400"}


def _has_already(request: Request, etag: str) -> bool:
    given = request.headers.get("if-none-match", "")
    return any(tag.strip().removeprefix("W/") in (etag, "*") for tag in given.split(","))
