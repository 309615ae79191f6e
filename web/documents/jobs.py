"""The documents of jobs, their events and failures."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from web.documents.document import Document

State = Literal["running", "done", "failed", "stopped", "died"]


class JobRequest(Document):
    """What to start."""

    kind: Literal["index"] = Field(description="`index` brings all known libraries up to date.")


class Progress(Document):
    """How far a running job is."""

    stage: str = Field(
        description="`words`, `scan`, `load`, `embed`, `publish`, `balance`, `vocabulary`, `tags`, `captions`, `text`; "
        "of a repair also others."
    )
    done: int = Field(description="Files, photos or sentences of this stage that are done.")
    total: int | None = Field(description="Of so many, where that is known.")
    failed: int = Field(description="Of which so many failed.")
    rate: float | None = Field(description="A second, of late; `null` at the start of a stage.")
    seconds_left: float | None = Field(description="Of this stage; `null` where it cannot be told.")
    at: str = Field(description="When this was so.")


class Run(Document):
    """One run of the indexer."""

    id: int
    kind: str
    state: State = Field(
        description="`died`: its process is gone, or silent for a minute. The next job goes on from there."
    )
    cause: Literal["command", "page", "watch", "schedule"] = Field(description="What asked for it.")
    user: str | None = Field(description="As whom it ran, where that has a name.")
    host: str
    pid: int
    started_at: str
    ended_at: str | None
    counts: dict[str, Any] = Field(description="What it has done, as `sightline index --json` counts it.")
    message: str | None = Field(description="Why it failed, or what waits for a later run.")
    progress: Progress | None = Field(description="While it runs.")


class Job(Run):
    """One run of the indexer, as this server can deal with it."""

    stoppable: bool = Field(description="Whether it runs and this server started it, so that DELETE stops it.")


class JobList(Document):
    """The last jobs."""

    jobs: list[Job] = Field(description="Newest first.")


class StatusEvent(Document):
    """The data of the event `status`."""

    photos: int
    failures: int = Field(description="How many `GET /api/failures` lists.")
    waiting: dict[str, int] = Field(description="Photos that wait for the stages `captions`, `tags` and `text`.")
    model: str | None
    generation: int | None
    revision: int = Field(description="Grows with every commit that changes which photos a search may find.")
    job: int | None = Field(description="The id of the running job.")
    detail: str | None = Field(description="Why there is no index to search, and what to do; else `null`.")
    missing: bool = Field(description="Whether that is because none was made yet.")
    node: bool = Field(False, description="Whether this server answers from Milvus and keeps nothing of its own.")


class Failure(Document):
    """A file that could not be read, or a photo that could not be described."""

    path: str = Field(description="For showing.")
    stage: str = Field(description="`read`, `captions` or `text`.")
    reason: str


class FailureList(Document):
    """A page of failures."""

    total: int
    failures: list[Failure] = Field(description="Files first, by path, then photos, as they were indexed.")


JOB_EXAMPLE: dict[str, Any] = {
    "id": 17,
    "kind": "index",
    "state": "running",
    "cause": "page",
    "user": "photos",
    "host": "nas",
    "pid": 4711,
    "started_at": "2026-11-22T09:30:00+00:00",
    "ended_at": None,
    "counts": {"added": 320, "unchanged": 11480, "failed": 2},
    "message": None,
    "progress": {
        "stage": "embed",
        "done": 322,
        "total": 1000,
        "failed": 2,
        "rate": 51.2,
        "seconds_left": 13.2,
        "at": "2026-11-22T09:30:11+00:00",
    },
    "stoppable": True,
}
