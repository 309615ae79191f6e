"""The endpoint of models."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from search.model_choices import model_choices
from web.access import EngineAccess
from web.answers import json_answer
from web.documents.models import ModelChoices
from web.problems import NO_INDEX, ProblemError, responses


def model_router(access: EngineAccess) -> APIRouter:
    """`/api/models`."""
    router = APIRouter(tags=["service"])

    @router.get(
        "/api/models",
        summary="The model in use, and what others would cost",
        response_model=None,
        responses={200: {"model": ModelChoices}, **responses(503)},
    )
    def models() -> Response:
        """Asks no network. There is an answer before there is an index, too."""
        try:
            with access.catalog() as connection:
                return json_answer(model_choices(connection))
        except ProblemError as problem:
            if problem.kind != NO_INDEX:
                raise
            return json_answer(model_choices(None))

    return router
