"""Errors as RFC 9457 problem documents: one shape for everything that goes wrong over HTTP."""

from __future__ import annotations

import json
import logging
import re
import sqlite3
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from search.catalog.damage import damaged, is_damage
from search.errors import (
    DamagedError,
    MissingCatalogError,
    NoCollectionError,
    NotHereError,
    QueryError,
    SightlineError,
    UnknownPhotoError,
    VersionError,
)
from search.home import Home

logger = logging.getLogger("sightline.web")
MEDIA_TYPE = "application/problem+json"
NO_INDEX = "urn:sightline:problem:no-index"
DAMAGED_INDEX = "urn:sightline:problem:damaged-index"
OTHER_VERSION = "urn:sightline:problem:other-version"
NOT_HERE = "urn:sightline:problem:not-here"
_SURROGATES = re.compile("[\ud800-\udfff]")


def displayable(text: str) -> str:
    """`text` with each lone surrogate (a byte of a file name that is not UTF-8) shown as U+FFFD."""
    return _SURROGATES.sub("\ufffd", text)


def kind_of(error: SightlineError) -> str:
    """The URI of this kind of problem, or `about:blank` where no client needs to tell it apart."""
    if isinstance(error, DamagedError):
        return DAMAGED_INDEX
    if isinstance(error, VersionError):
        return OTHER_VERSION
    if isinstance(error, NotHereError):
        return NOT_HERE
    return NO_INDEX if isinstance(error, (MissingCatalogError, NoCollectionError)) else "about:blank"


class ProblemError(Exception):
    """Ends a request with a problem document.

    Args:
        status: the HTTP status.
        detail: a sentence that says what is wrong and what to do next.
        kind: a URI that names this kind of problem, where a client may want to tell it apart.
        headers: further response headers.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        kind: str = "about:blank",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.kind = kind
        self.headers = headers

    def response(self) -> Response:
        """The answer to send."""
        return problem(self.status, self.detail, kind=self.kind, headers=self.headers)


class FieldProblem(BaseModel):
    """What is wrong with one field of a request."""

    field: str = Field(examples=["query.limit"])
    message: str = Field(examples=["Input should be less than or equal to 500"])


class ProblemDocument(BaseModel):
    """An RFC 9457 problem document."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["No photo has this id."])
    errors: list[FieldProblem] | None = Field(default=None, description="Where fields failed validation.")


def problem(
    status: int,
    detail: str,
    *,
    kind: str = "about:blank",
    errors: Sequence[Mapping[str, str]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem document as a response."""
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Error"
    document: dict[str, Any] = {"type": kind, "title": title, "status": status, "detail": displayable(detail)}
    if errors is not None:
        document["errors"] = list(errors)
    # ASCII: an error may quote what a client sent, and that need not be encodable.
    body = json.dumps(document).encode("ascii")
    return Response(body, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def detail_for(status: int) -> str:
    """A sentence for a status that came without one."""
    return {
        400: "The request could not be understood; /docs describes what each address takes.",
        404: "There is nothing at this address; /docs lists what there is.",
        405: "This address does not take that method; /docs describes it.",
        416: "The file has no such range of bytes; Content-Range gives its size.",
        500: "Something went wrong here; the server's log says what. Try again.",
    }.get(status, "The request was refused.")


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries for the problem documents that an operation may answer with."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
        }
        for status in statuses
    }


def unavailable(error: SightlineError) -> Response:
    """The answer where the index cannot be used at this moment."""
    return problem(503, str(error), kind=kind_of(error), headers={"Retry-After": "2"})


def install(app: FastAPI, home: Home) -> None:
    """Make every error of `app`, which serves `home`, a problem document."""

    async def on_problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, ProblemError)
        return error.response()

    async def on_sightline_error(request: Request, error: Exception) -> Response:
        if isinstance(error, UnknownPhotoError):
            return problem(404, str(error))
        if isinstance(error, QueryError):
            return problem(400, str(error))
        if isinstance(error, NotHereError):
            return problem(501, str(error), kind=NOT_HERE)
        assert isinstance(error, SightlineError)
        return unavailable(error)  # a catalog or a model that cannot be used is the server's trouble

    async def on_sqlite_error(request: Request, error: Exception) -> Response:
        if is_damage(error):
            logger.error("%s %s: %s", request.method, request.url.path, error)
            return unavailable(damaged(home, error))
        return unavailable(SightlineError(f"The index cannot be read at this moment ({error}); try again."))

    async def on_http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        detail = str(error.detail)
        if detail in {status.phrase for status in HTTPStatus}:
            detail = detail_for(error.status_code)
        elif not detail.endswith((".", "!", "?")):
            detail += "."
        return problem(error.status_code, detail, headers=error.headers)

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        errors = [
            {"field": ".".join(str(part) for part in item["loc"]), "message": str(item["msg"])}
            for item in error.errors()
        ]
        named = ", ".join(dict.fromkeys(item["field"] for item in errors))
        return problem(422, f"These fields are not as they should be: {named}.", errors=errors)

    app.add_exception_handler(ProblemError, on_problem)
    app.add_exception_handler(SightlineError, on_sightline_error)
    app.add_exception_handler(sqlite3.Error, on_sqlite_error)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(RequestValidationError, on_invalid)
