"""The endpoints of jobs: start one, look at them, stop one; and what could not be read or described."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from search.catalog import failures
from web.access import EngineAccess
from web.answers import json_answer
from web.documents.jobs import JOB_EXAMPLE, FailureList, Job, JobList, JobRequest
from web.jobs import Jobs
from web.problems import responses

JobId = Annotated[int, Path(description="A job's id.", ge=1, le=2**63 - 1, examples=[17])]


def job_router(access: EngineAccess, jobs: Jobs) -> APIRouter:
    """`/api/jobs` and `/api/failures`."""
    router = APIRouter(tags=["jobs"])
    example = {"application/json": {"example": JOB_EXAMPLE}}

    @router.post(
        "/api/jobs",
        summary="Bring the index up to date",
        status_code=202,
        response_model=None,
        responses={202: {"model": Job, "content": example}, **responses(403, 409, 422, 503)},
    )
    def start(wanted: JobRequest) -> Response:
        """Looks for what is new, changed or gone in all libraries that the index knows; takes no path. One job runs at
        a time: while one does, whoever started it, the answer is a 409 that names it. It stops with the server.
        """
        job = jobs.start()
        return json_answer(job, 202, {"Location": f"/api/jobs/{job['id']}"})

    @router.get(
        "/api/jobs",
        summary="The last jobs",
        response_model=None,
        responses={200: {"model": JobList}, **responses(422, 503)},
    )
    def recent(
        limit: Annotated[int, Query(ge=1, le=200, description="How many to give; 200 are kept.")] = 20,
    ) -> Response:
        """Runs of the indexer, newest first, whoever started them."""
        return json_answer({"jobs": jobs.recent(limit)})

    @router.get(
        "/api/jobs/{job_id}",
        summary="One job",
        response_model=None,
        responses={200: {"model": Job, "content": example}, **responses(404, 422, 503)},
    )
    def one(job_id: JobId) -> Response:
        """How far it is while it runs, and how it ended."""
        return json_answer(jobs.find(job_id))

    @router.delete(
        "/api/jobs/{job_id}",
        summary="Stop a job",
        response_model=None,
        responses={200: {"model": Job}, **responses(403, 404, 409, 422, 503)},
    )
    def stop(job_id: JobId) -> Response:
        """Stops a job that this server has started; what it has done is kept. The answer comes when it has stopped, or
        after ten seconds, where a batch takes longer.
        """
        return json_answer(jobs.stop(job_id))

    @router.get(
        "/api/failures",
        summary="What could not be read or described",
        response_model=None,
        responses={200: {"model": FailureList}, **responses(422, 503)},
    )
    def failed(
        limit: Annotated[int, Query(ge=1, le=1000, description="How many to give.")] = 100,
        offset: Annotated[int, Query(ge=0, le=10_000_000, description="How many to pass over.")] = 0,
    ) -> Response:
        """Each with one sentence that says why."""
        with access.catalog() as connection:
            page = failures.page(connection, limit, offset)
            return json_answer({"total": failures.count(connection), "failures": page})

    return router
