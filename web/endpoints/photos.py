"""The endpoints of one photo: what is known and said about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from search.catalog import paths as catalog_paths
from search.catalog.descriptions import TextLine
from search.catalog.editing import put_caption
from search.catalog.photo import Photo
from web.access import EngineAccess
from web.answers import json_answer
from web.documents.photos import CaptionEdit, PhotoDocument
from web.photo_files import PhotoId, checked_id, known_photo
from web.problems import displayable, responses


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
        "offline": photo.offline,
        "urls": {
            "thumb": f"{base}/thumb?size=small",
            "medium": f"{base}/thumb?size=medium",
            "large": f"{base}/thumb?size=large",
            "picture": f"{base}/picture",
            "file": f"{base}/file",
            "similar": f"{base}/similar",
        },
    }


def photo_router(access: EngineAccess) -> APIRouter:
    """`/api/photos/{id}` and `/caption`."""
    router = APIRouter(tags=["photos"])

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

    return router
