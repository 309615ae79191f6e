"""The endpoints of saved searches."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.responses import Response

from search.catalog import saved_searches
from search.catalog.saved_searches import SavedSearch
from search.errors import CatalogError, SightlineError
from web.access import EngineAccess
from web.answers import json_answer
from web.documents import saved as documents
from web.documents.saved import SavedSearches, SearchName, SearchToSave
from web.parts import liked
from web.problems import ProblemError, responses

SearchId = Annotated[int, Path(ge=1, le=2**53, description="The number of a saved search.", examples=[1])]


def saved_router(access: EngineAccess) -> APIRouter:
    """`/api/searches`."""
    router = APIRouter(tags=["search"])
    unknown = ProblemError(404, "There is no saved search of this number; it may have been removed since.")

    @router.get(
        "/api/searches",
        summary="Saved searches",
        response_model=None,
        responses={200: {"model": SavedSearches}, **responses(503)},
    )
    def searches() -> Response:
        """All saved searches, the newest first; what they find is asked for as any search is."""
        return json_answer({"searches": [_json(one) for one in access.engine().saved_searches()]})

    @router.post(
        "/api/searches",
        summary="Save a search",
        status_code=201,
        response_model=None,
        responses={201: {"model": documents.SavedSearch}, **responses(403, 404, 409, 422, 503)},
    )
    def save(search: SearchToSave) -> Response:
        """Keep a search under a name: what is asked, not what is found."""
        home = access.home
        access.engine()
        for one in search.like:
            liked(one)
        try:
            kept = saved_searches.save(
                home,
                name=search.name,
                q=search.q,
                mode=search.mode,
                sort=search.sort,
                include_all=search.all,
                collapse=search.collapse,
                like=tuple(search.like),
            )
        except CatalogError:
            raise
        except SightlineError as error:
            raise ProblemError(409, str(error)) from error
        return json_answer(_json(kept), 201)

    @router.put(
        "/api/searches/{search_id}",
        summary="Rename a saved search",
        response_model=None,
        responses={200: {"model": documents.SavedSearch}, **responses(403, 404, 422, 503)},
    )
    def rename(search_id: SearchId, called: SearchName) -> Response:
        """Give a saved search another name."""
        access.engine()
        renamed = saved_searches.rename(access.home, search_id, called.name)
        if renamed is None:
            raise unknown
        return json_answer(_json(renamed))

    @router.delete(
        "/api/searches/{search_id}",
        summary="Remove a saved search",
        status_code=204,
        response_model=None,
        responses={204: {"description": "It is removed."}, **responses(403, 404, 422, 503)},
    )
    def remove(search_id: SearchId) -> Response:
        """Forget a saved search; no photo is touched."""
        access.engine()
        if not saved_searches.forget(access.home, search_id):
            raise unknown
        return Response(status_code=204)

    return router


def _json(search: SavedSearch) -> dict[str, Any]:
    document = asdict(search)
    document["all"] = document.pop("include_all")
    return document
