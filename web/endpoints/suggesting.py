"""The endpoint that completes what someone is typing."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from search.query import MAX_LENGTH
from web.access import EngineAccess
from web.answers import json_answer
from web.documents.searching import SUGGESTIONS_EXAMPLE, SuggestionsAnswer
from web.problems import responses


def suggest_router(access: EngineAccess) -> APIRouter:
    """`/api/suggest`."""
    router = APIRouter(tags=["search"])

    @router.get(
        "/api/suggest",
        summary="Complete a query",
        response_model=None,
        responses={
            200: {"model": SuggestionsAnswer, "content": {"application/json": {"example": SUGGESTIONS_EXAMPLE}}},
            **responses(400, 422, 503),
        },
    )
    def suggest(
        q: Annotated[
            str,
            Query(max_length=MAX_LENGTH, description="The text of a query up to the caret.", examples=["a dog be"]),
        ],
        limit: Annotated[int, Query(ge=1, le=50, description="How many suggestions to give.", examples=[8])] = 8,
    ) -> Response:
        """What the last word could become: tags, cameras, folders and dates that photos of this library have."""
        found = access.engine().suggest(q, limit)
        return json_answer(
            {"start": found.start, "end": found.end, "suggestions": [one.to_json() for one in found.found]}
        )

    return router
