"""The endpoints of duplicates: the groups, and a person's word on them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from search.catalog import paths as catalog_paths
from search.catalog.editing import dismiss, take_dismissal_back
from search.duplicates import Group, Kind
from web.access import EngineAccess
from web.answers import json_answer
from web.documents.duplicates import DUPLICATES_EXAMPLE, Dismissal, DismissalAnswer, DuplicatesAnswer
from web.photo_files import checked_id
from web.problems import displayable, responses
from web.turns import Turns

MAX_LIMIT = 100
MAX_OFFSET = 10_000_000
MOST_WAITING = 8
MOST_PATHS = 100


def group_json(group: Group) -> dict[str, Any]:
    """The document of one group (`DuplicateGroup`)."""
    return {
        "kind": group.kind,
        "best": group.members[0].photo.id,
        "reclaimable": group.reclaimable,
        "copies": group.count,
        "photos": [
            {
                "id": member.photo.id,
                "paths": [displayable(catalog_paths.display(path)) for path in member.photo.paths[:MOST_PATHS]],
                "files": len(member.photo.paths),
                "width": member.photo.width,
                "height": member.photo.height,
                "format": member.photo.format,
                "bytes": member.photo.bytes,
                "taken_at": member.photo.taken_at,
                "added_at": member.photo.added_at,
                "caption": member.photo.caption,
                "bits": member.bits,
                "distance": round(member.distance, 4),
            }
            for member in group.members
        ],
    }


def duplicates_router(access: EngineAccess) -> APIRouter:
    """`/api/duplicates` and its `/dismissals`."""
    router = APIRouter(tags=["duplicates"])
    # The first page of a large library takes seconds; whoever asks meanwhile has it from what that one found.
    turns = Turns(1, MOST_WAITING)

    @router.get(
        "/api/duplicates",
        summary="Photos of which there are several copies",
        response_model=None,
        responses={
            200: {"model": DuplicatesAnswer, "content": {"application/json": {"example": DUPLICATES_EXAMPLE}}},
            **responses(422, 503),
        },
    )
    async def duplicates(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="How many groups to give.")] = 50,
        offset: Annotated[int, Query(ge=0, le=MAX_OFFSET, description="How many groups to pass over.")] = 0,
        kind: Annotated[Kind | None, Query(description="Groups of this kind alone.")] = None,
    ) -> Response:
        """Exact and near copies in groups, those with the most to reclaim first. Nothing is ever deleted."""
        async with turns.turn(request):
            found = await run_in_threadpool(access.duplicates, limit, offset, kind)
        return json_answer(
            {
                "total": found.total,
                "reclaimable": found.reclaimable,
                "kinds": {
                    one: {"total": total, "reclaimable": reclaimable}
                    for one, (total, reclaimable) in found.kinds.items()
                },
                "unhashed": found.unhashed,
                "groups": [group_json(group) for group in found.groups],
            }
        )

    written: dict[int | str, dict[str, Any]] = {200: {"model": DismissalAnswer}, **responses(403, 404, 422, 503)}

    @router.post(
        "/api/duplicates/dismissals",
        summary="Say that photos are not duplicates of each other",
        response_model=None,
        responses=written,
    )
    def keep_apart(dismissal: Dismissal) -> Response:
        """Every two of them stay in groups of their own, and in searches with `collapse` hits of their own."""
        return json_answer({"pairs": dismiss(access.home, [checked_id(photo) for photo in dismissal.photos])})

    @router.delete(
        "/api/duplicates/dismissals",
        summary="Take that back",
        response_model=None,
        responses=written,
    )
    def bring_together(dismissal: Dismissal) -> Response:
        """What was said of any two of these photos is forgotten."""
        taken = take_dismissal_back(access.home, [checked_id(photo) for photo in dismissal.photos])
        return json_answer({"pairs": taken})

    return router
