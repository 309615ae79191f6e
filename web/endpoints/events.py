"""The endpoint of events."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from web.events import Events
from web.problems import responses


def event_router(events: Events) -> APIRouter:
    """`/api/events`."""
    router = APIRouter(tags=["jobs"])

    @router.get(
        "/api/events",
        summary="What happens to the index, as it happens",
        response_model=None,
        response_class=Response,
        responses={
            200: {
                "description": "Server-sent events, without an end.",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
            **responses(503),
        },
    )
    async def listen() -> Response:
        """`status` at once and whenever it changes, `job` about once a second while one runs and once when it has
        ended. docs/api.md describes their data.
        """
        return events.listen()

    return router
