"""The endpoints that search."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, File, Form, Query, Request, UploadFile
from fastapi.concurrency import run_in_threadpool
from pydantic import BeforeValidator
from starlette.responses import Response

from search.answer import Request as SearchRequest
from search.query import MAX_LENGTH
from web.access import EngineAccess
from web.answers import json_answer
from web.documents.document import PHOTO_ID
from web.documents.searching import SEARCH_EXAMPLE, Mode, SearchAnswer, Sort
from web.parts import cut, liked
from web.photo_files import PhotoId, checked_id
from web.problems import responses
from web.text_batches import TextBatches
from web.turns import Turns
from web.uploads import Decoder

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_LIMIT = 500
MAX_OFFSET = 10_000_000
MAX_PICTURES = 8
MOST_WAITING = 64

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="How many hits to give.", examples=[50])]
WithFacets = Annotated[bool, Query(description="Also tell what all hits have in common.")]
Collapse = Annotated[bool, Query(description="Photos of one moment as one hit.")]
ListingName = Annotated[
    str | None,
    Query(alias="listing", max_length=64, description="Of which answer this is a further page: its `listing`."),
]
Offset = Annotated[int, Query(ge=0, le=MAX_OFFSET, description="How many hits to pass over.", examples=[0])]

_Q = "What to look for: free words by meaning, and the filters of the query language. Empty: newest first."
_NOT = "What the photos should not show."
_MODE = "`auto` asks by meaning and by words, `meaning` and `words` by one alone."
_ALL = "Also give the hits that are judged not relevant."


def _named(parts: Any) -> Any:
    """The files of a form; one that was left empty sends a part without a name."""
    return [part for part in parts if part] if isinstance(parts, list) else parts


def search_router(access: EngineAccess, decoder: Decoder) -> APIRouter:
    """`GET` and `POST /api/search`, and `/api/photos/{id}/similar`."""
    router = APIRouter(tags=["search"])
    # More than there are cores for would only make each other slow.
    turns = Turns(max(2, os.cpu_count() or 2), MOST_WAITING)
    texts = TextBatches(access)
    # Pictures take memory from when they are decoded until they are searched by, so few requests hold any.
    picture_turns = Turns(decoder.most, MOST_WAITING)
    answer_200: dict[int | str, dict[str, Any]] = {
        200: {"model": SearchAnswer, "content": {"application/json": {"example": SEARCH_EXAMPLE}}}
    }

    async def answer(request: Request, asked: SearchRequest) -> Response:
        def found() -> Response:
            answer = access.search(asked)
            return json_answer({**answer.to_json(), "listing": answer.listing})

        async with turns.turn(request, if_waiting=lambda: texts.add(asked)):
            return await run_in_threadpool(found)

    @router.get(
        "/api/search",
        summary="Search by text",
        response_model=None,
        responses={**answer_200, **responses(400, 422, 503)},
    )
    async def search(
        request: Request,
        q: Annotated[str, Query(max_length=MAX_LENGTH, description=_Q, examples=["a red motorcycle"])] = "",
        negative: Annotated[str, Query(alias="not", max_length=MAX_LENGTH, description=_NOT, examples=["people"])] = "",
        mode: Annotated[Mode, Query(description=_MODE)] = "auto",
        sort: Annotated[Sort, Query(description="The order of the hits.")] = "relevance",
        limit: Limit = 50,
        offset: Offset = 0,
        include_all: Annotated[bool, Query(alias="all", description=_ALL)] = False,
        collapse: Collapse = False,
        facets: WithFacets = False,
        listing: ListingName = None,
    ) -> Response:
        """Photos that answer a query, best first, with an honest total for paging."""
        return await answer(
            request,
            SearchRequest(
                text=q,
                negative=negative,
                mode=mode,
                sort=sort,
                limit=limit,
                offset=offset,
                include_all=include_all,
                collapse=collapse,
                facets=facets,
                listing=listing,
            ),
        )

    @router.post(
        "/api/search",
        summary="Search by picture, or by picture and text",
        response_model=None,
        responses={**answer_200, **responses(400, 403, 404, 413, 422, 503)},
    )
    async def search_by_picture(
        request: Request,
        image: Annotated[
            list[UploadFile] | None,
            BeforeValidator(_named),
            File(max_length=MAX_PICTURES, description="Pictures to find the like of."),
        ] = None,
        like: Annotated[
            list[str] | None,
            Form(
                max_length=MAX_PICTURES,
                description="Photos of the index to find the like of, by id; or parts of them, by "
                "`ID@left,top,right,bottom`, fractions of the upright photo.",
                examples=[[PHOTO_ID]],
            ),
        ] = None,
        q: Annotated[str, Form(max_length=MAX_LENGTH, description=_Q, examples=["at night"])] = "",
        negative: Annotated[str, Form(alias="not", max_length=MAX_LENGTH, description=_NOT)] = "",
        mode: Annotated[Mode, Form(description=_MODE)] = "auto",
        sort: Annotated[Sort, Form(description="The order of the hits.")] = "relevance",
        limit: Annotated[int, Form(ge=1, le=MAX_LIMIT)] = 50,
        offset: Annotated[int, Form(ge=0, le=MAX_OFFSET)] = 0,
        include_all: Annotated[bool, Form(alias="all", description=_ALL)] = False,
        collapse: Annotated[bool, Form()] = False,
        facets: Annotated[bool, Form()] = False,
        listing: Annotated[str | None, Form(max_length=64)] = None,
    ) -> Response:
        """As `GET`, with pictures: `image` is uploaded, `like` names a photo. Text refines what is like all of them."""
        named = [liked(one) for one in like or () if one]
        asked = SearchRequest(
            text=q,
            like=tuple(one.photo_id for one in named if not one.box),
            apart_from=tuple(one.photo_id for one in named if one.box),
            negative=negative,
            mode=mode,
            sort=sort,
            limit=limit,
            offset=offset,
            include_all=include_all,
            collapse=collapse,
            facets=facets,
            listing=listing,
        )
        boxes = [(one.photo_id, one.box) for one in named if one.box]
        if not image and not boxes:
            return await answer(request, asked)
        async with picture_turns.turn(request):
            pictures: list[Image] = []
            for upload in image or ():
                await run_in_threadpool(access.engine)  # no index: say so before the picture is decoded
                pictures.append(await decoder.query_image(upload))
            for photo_id, box in boxes:
                pictures.append(await cut(access, decoder, photo_id, box))
            return await answer(request, replace(asked, images=tuple(pictures)))

    @router.get(
        "/api/photos/{photo_id}/similar",
        summary="Photos like this one",
        response_model=None,
        responses={**answer_200, **responses(404, 422, 503)},
    )
    async def similar(
        request: Request,
        photo_id: PhotoId,
        limit: Limit = 50,
        offset: Offset = 0,
        collapse: Collapse = False,
        listing: ListingName = None,
    ) -> Response:
        """Photos that look like this one, the most alike first, itself left out."""
        asked = SearchRequest(
            like=(checked_id(photo_id),), limit=limit, offset=offset, collapse=collapse, listing=listing
        )
        return await answer(request, asked)

    return router
