"""The endpoints about the server itself: the state of the index, health, readiness and metrics."""

from __future__ import annotations

import sqlite3
from typing import Any

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from search.errors import NotHereError, SightlineError
from search.resources import version
from web.access import EngineAccess
from web.answers import json_answer
from web.documents.service import Health, Status
from web.jobs import Jobs
from web.outermost import Metrics
from web.problems import ProblemError, responses

_JOBS = 200


def service_router(access: EngineAccess, jobs: Jobs, metrics: Metrics) -> APIRouter:
    """`/api/status`, `/healthz`, `/readyz` and `/metrics`."""
    router = APIRouter(tags=["service"])

    @router.get(
        "/api/status",
        summary="The state of the index",
        response_model=None,
        responses={200: {"model": Status}, **responses(503)},
    )
    def status() -> Response:
        """Photos, libraries, model, generation, and the last runs of the indexer."""
        return json_answer({"version": version(), **access.engine().status()})

    @router.get("/healthz", summary="Does the process live?", response_model=None, responses={200: {"model": Health}})
    async def healthz() -> Response:
        """Always 200, and never asks for a token: for whatever restarts a process that hangs."""
        return json_answer({"status": "ok"})

    @router.get(
        "/readyz",
        summary="Can searches be answered?",
        response_model=None,
        responses={200: {"model": Health}, **responses(503)},
    )
    def readyz() -> Response:
        """200 once there is an index to search; until then 503 with what to do."""
        access.check()
        return json_answer({"status": "ready"})

    @router.get(
        "/metrics",
        summary="Figures for Prometheus",
        response_model=None,
        response_class=Response,
        responses={200: {"description": "Prometheus' text format.", "content": {"text/plain": {}}}},
    )
    def figures() -> Response:
        """Requests by route and status, their latencies, the state of the index, and its jobs."""
        try:
            state, last = access.engine().status(), _recent(jobs)
        except (ProblemError, SightlineError, sqlite3.Error):
            state, last = {}, []
        metrics.index.set(state, last)
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return router


def _recent(jobs: Jobs) -> list[dict[str, Any]]:
    try:
        return jobs.recent(_JOBS)
    except NotHereError:
        return []
