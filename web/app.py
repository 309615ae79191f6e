"""The web application: puts the endpoints, the page and the guards together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from indexer.thumbnails import Thumbnails
from search.home import Home
from search.ranking_settings import RankingSettings
from web import problems
from web.access import EngineAccess
from web.compression import Compression
from web.endpoints.archive import archive_router
from web.endpoints.duplicates import duplicates_router
from web.endpoints.events import event_router
from web.endpoints.jobs import job_router
from web.endpoints.models import model_router
from web.endpoints.photos import photo_router
from web.endpoints.pictures import picture_router
from web.endpoints.saved import saved_router
from web.endpoints.searching import search_router
from web.endpoints.service import service_router
from web.endpoints.suggesting import suggest_router
from web.endpoints.why import why_router
from web.events import Events
from web.following import Following
from web.guards import Guard
from web.jobs import Jobs
from web.outermost import Metrics, Outermost
from web.settings import ServerSettings
from web.uploads import Decoder
from web.watching import NodeWatch, Watch

STATIC = Path(__file__).parent / "static"
DESCRIPTION = (
    "Find photos by what they show. Every error is an RFC 9457 problem document; "
    "photos are addressed by id alone, never by path."
)


class _Static(StaticFiles):
    """Static files that browsers ask about each time: an update then shows at once, at the price of a 304."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.setdefault("Cache-Control", "no-cache")
        return response


def create_app(home: Home, settings: ServerSettings | None = None) -> FastAPI:
    """The application that serves one home. The index need not be there yet.

    Args:
        home: whose photos to search.
        settings: how to serve them; the default answers to this machine alone.

    Returns:
        the application. Whoever runs it may call its `state.stop_soon()` as soon as it is to end: event streams end by
        that, for which servers wait otherwise; and `state.connection_refused(reason)` for the metrics.

    Raises:
        SettingsError: an environment variable of ranking or of decoding has a value that cannot be.
    """
    settings = settings or ServerSettings()
    access = EngineAccess(home, RankingSettings.read(), settings.vectors)
    decoder = Decoder(settings)
    metrics = Metrics()
    jobs = Jobs(access)
    events = Events(Watch(home, jobs) if settings.vectors is None else NodeWatch(access))
    follows = settings.watch or settings.every is not None
    following = Following(home, watch=settings.watch, every=settings.every, poll=settings.poll) if follows else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        access.warm_in_background()
        if following is not None:
            following.start()
        yield
        stop_soon()
        await run_in_threadpool(jobs.close)
        if following is not None:
            await run_in_threadpool(following.close)
        await run_in_threadpool(decoder.decoders.close)
        access.close()

    app = FastAPI(
        title="Sightline",
        version="1",
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )

    def stop_soon() -> None:
        events.close()
        jobs.ask_to_stop()
        if following is not None:
            following.ask_to_stop()

    app.state.stop_soon = stop_soon
    app.state.connection_refused = lambda reason: metrics.connections_refused.labels(reason).inc()
    problems.install(app, home)
    app.include_router(search_router(access, decoder))
    app.include_router(suggest_router(access))
    app.include_router(saved_router(access))
    thumbnails = Thumbnails(home, decoder.decoders)
    app.include_router(photo_router(access))
    app.include_router(picture_router(access, thumbnails, decoder))
    app.include_router(archive_router(access))
    app.include_router(why_router(access, thumbnails, decoder))
    app.include_router(duplicates_router(access))
    app.include_router(service_router(access, jobs, metrics))
    app.include_router(job_router(access, jobs))
    app.include_router(event_router(events))
    app.include_router(model_router(access))
    _add_pages(app)
    _describe_problems(app)
    # The last one added is the outermost.
    app.add_middleware(Compression)
    app.add_middleware(Guard, settings=settings)
    app.add_middleware(Outermost, metrics=metrics, home=home)
    return app


def _add_pages(app: FastAPI) -> None:
    def page(name: str) -> Response:
        return FileResponse(STATIC / name, media_type="text/html", headers={"Cache-Control": "no-cache"})

    @app.head("/", include_in_schema=False)
    @app.get("/", include_in_schema=False)
    def index() -> Response:
        return page("index.html")

    @app.head("/docs", include_in_schema=False)
    @app.get("/docs", include_in_schema=False)
    def docs() -> Response:
        return page("docs.html")

    app.mount("/static", _Static(directory=STATIC), name="static")


def _describe_problems(app: FastAPI) -> None:
    """Put the problem document among the schemas, in the place of the framework's validation error."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            schemas.pop("HTTPValidationError", None)
            schemas.pop("ValidationError", None)
            template = "#/components/schemas/{model}"
            for model in (problems.ProblemDocument, problems.FieldProblem):
                schema = model.model_json_schema(ref_template=template)
                schema.pop("$defs", None)
                schemas[model.__name__] = schema
            for path, operations in document["paths"].items():
                for operation in operations.values():
                    # What the guards may answer to anything, and what a body may be answered with before it is read.
                    guarded = [
                        400,
                        *([] if path == "/healthz" else [401]),
                        *([413] if "requestBody" in operation else []),
                    ]
                    for status, refusal in problems.responses(*guarded).items():
                        operation["responses"].setdefault(str(status), refusal)
                    invalid = operation["responses"].get("422", {}).get("content", {})
                    if problems.MEDIA_TYPE not in invalid:
                        # Said by the framework of anything that takes a parameter; an id is unknown at worst.
                        operation["responses"].pop("422", None)
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
