"""The endpoint that shows where in a photo something was seen."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from indexer.thumbnails import Thumbnails
from search.query import MAX_LENGTH
from web.access import EngineAccess
from web.answers import json_answer
from web.documents.photos import SIMILARITY_MAP_EXAMPLE, SimilarityMap
from web.photo_files import PhotoId, known_photo, thumbnail
from web.problems import responses
from web.turns import Turns
from web.uploads import Decoder

MOST_WAITING = 8
"""Requests that may wait for their turn: a person who walks through photos asks for one after the other."""


def why_router(access: EngineAccess, thumbnails: Thumbnails, decoder: Decoder) -> APIRouter:
    """`/api/photos/{id}/why`."""
    router = APIRouter(tags=["photos"])
    # One at a time: a large model takes all cores for seconds, and searches need some of them.
    turns = Turns(1, MOST_WAITING)

    @router.get(
        "/api/photos/{photo_id}/why",
        summary="Where in a photo something was seen",
        response_model=None,
        responses={
            200: {"model": SimilarityMap, "content": {"application/json": {"example": SIMILARITY_MAP_EXAMPLE}}},
            **responses(400, 404, 422, 503),
        },
    )
    async def why(
        request: Request,
        photo_id: PhotoId,
        q: Annotated[
            str,
            Query(
                max_length=MAX_LENGTH,
                description="What to look for, in the query language; filters and what is excluded are passed over.",
                examples=["a red motorcycle"],
            ),
        ],
    ) -> Response:
        """A map of how much each place of the photo speaks for a text, by the index's own model."""
        photo = await run_in_threadpool(known_photo, access, photo_id)
        async with turns.turn(request):
            # The picture that is shown beside the map, and it is small: most often it was made for that already.
            content = await thumbnail(thumbnails, decoder, photo, "large")

            def found() -> Response:
                shown = decoder.decoders.picture(content)
                return json_answer(access.engine().where(photo.id, shown, q).to_json())

            return await run_in_threadpool(found)

    return router
