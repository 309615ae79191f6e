"""Jobs over HTTP: started, watched, stopped and killed, with the real indexer in processes of its own."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from listening import listening
from problem_checks import assert_problem
from serving import running_server, server_process
from support import picture

from indexer.lock import writer_lock
from indexer.progress import Silent
from indexer.report import IndexOptions
from indexer.run import run_index
from search.catalog import job_progress, jobs
from search.catalog.clock import now
from search.catalog.connection import connect_to_read, connect_to_write
from search.home import Home
from web.app import create_app
from web.documents.jobs import JOB_EXAMPLE, FailureList, Job, StatusEvent
from web.problems import NO_INDEX


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library")
    for number in range(3):
        picture(folder / f"{number}.jpg", number)
    for number in range(3):
        (folder / f"broken {number}.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def indexed(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("home"))
    run_index(home, [library], IndexOptions(model="starter", captions="off"), Silent())
    return home


@pytest.fixture(scope="module")
def address(indexed: Home) -> Iterator[str]:
    with running_server(indexed) as address:
        yield address


@pytest.fixture
def start(address: str, library: Path) -> Iterator[Callable[[], dict[str, Any]]]:
    """Starts a job that has a new photo to embed, and so takes some seconds to load the model."""
    new = library / "new.jpg"

    def started() -> dict[str, Any]:
        picture(new, 100)
        response = httpx.post(f"{address}api/jobs", json={"kind": "index"}, timeout=60)
        assert response.status_code == 202, response.text
        job: dict[str, Any] = response.json()
        assert Job.model_validate(job).id == job["id"]
        assert response.headers["location"] == f"/api/jobs/{job['id']}"
        return job

    yield started
    new.unlink(missing_ok=True)


def state_of(address: str, job: int, wanted: str) -> dict[str, Any]:
    """The job's document, as soon as its state is as `wanted`."""
    for _ in range(300):
        document: dict[str, Any] = httpx.get(f"{address}api/jobs/{job}").json()
        if document["state"] == wanted:
            return document
        time.sleep(0.05)
    raise AssertionError(document)


def test_a_stopped_job_has_stopped(address: str, start: Callable[[], dict[str, Any]]) -> None:
    job = start()
    assert job["state"] == "running" and job["stoppable"] is True
    response = httpx.delete(f"{address}api/jobs/{job['id']}", timeout=60)
    assert response.status_code == 200
    stopped = Job.model_validate(response.json())
    assert stopped.state == "stopped" and stopped.ended_at is not None and not stopped.stoppable
    assert stopped.progress is None
    assert "has ended already: stopped" in assert_problem(httpx.delete(f"{address}api/jobs/{job['id']}"), 409)["detail"]


def test_a_job_whose_process_was_killed_has_died(
    address: str, start: Callable[[], dict[str, Any]], indexed: Home
) -> None:
    job = start()
    while job_progress.read(indexed, job["id"]) is None:  # it answers before its run says how far it is
        assert httpx.get(f"{address}api/jobs/{job['id']}").json()["state"] == "running"
    os.kill(job["pid"], signal.SIGKILL)
    died = state_of(address, job["id"], "died")
    assert died["progress"] is None and died["stoppable"] is False
    assert indexed.progress_path.exists()  # what it left behind belongs to no job that runs


STAGES = {"scan", "load", "embed", "balance", "words", "vocabulary", "tags", "captions", "text", "publish"}


def test_a_job_can_be_watched_to_its_end(
    address: str, start: Callable[[], dict[str, Any]], library: Path, indexed: Home
) -> None:
    with listening(address) as events:
        name, before = next(events)
        assert name == "status" and StatusEvent.model_validate(before).detail is None
        assert (before["photos"], before["failures"], before["job"], before["model"]) == (3, 3, None, "starter")
        job = start()
        # One at a time, and no address takes a path.
        busy = httpx.post(f"{address}api/jobs", json={"kind": "index"}, timeout=60)
        assert f"Job {job['id']} " in assert_problem(busy, 409)["detail"]
        assert busy.headers["location"] == f"/api/jobs/{job['id']}"
        wrong = httpx.post(f"{address}api/jobs", json={"kind": "index", "paths": ["/"]}, timeout=60)
        assert assert_problem(wrong, 422)["errors"][0]["field"] == "body.paths"

        heard, stages, last = [], set(), before
        for name, document in events:
            if name == "status":
                last = document
                continue
            heard.append(Job.model_validate(document))
            if document["progress"] is not None:
                stages.add(document["progress"]["stage"])
            if document["state"] != "running":
                break
        while last["job"] is not None or last["photos"] != 4:
            last = next(document for name, document in events if name == "status")
    assert {one.id for one in heard} == {job["id"]} and heard[0].state == "running" and heard[-1].state == "done"
    assert stages and stages <= STAGES  # which of them depends on when it was looked at
    assert heard[-1].counts["added"] == 1 and heard[-1].progress is None
    assert last["revision"] > before["revision"] and last["generation"] > before["generation"]
    assert not indexed.progress_path.exists()
    assert httpx.get(f"{address}api/jobs", params={"limit": 1}).json()["jobs"][0]["id"] == job["id"]


def test_a_job_of_somebody_else_is_shown_and_left_alone(address: str, indexed: Home) -> None:
    with writer_lock(indexed), closing(connect_to_write(indexed)) as connection:
        with connection:
            job = jobs.start(connection, "index")
        far = {"stage": "embed", "done": 5, "total": 9, "failed": 1, "rate": 2.5, "seconds_left": 1.6, "at": now()}
        job_progress.write(indexed, job, far)
        shown = httpx.get(f"{address}api/jobs/{job}").json()
        assert shown["state"] == "running" and shown["progress"] == far and shown["stoppable"] is False
        assert httpx.get(f"{address}api/status").json()["jobs"][0]["progress"] == far
        busy = httpx.post(f"{address}api/jobs", json={"kind": "index"}, timeout=60)
        assert f"Job {job} " in assert_problem(busy, 409)["detail"]
        left_alone = assert_problem(httpx.delete(f"{address}api/jobs/{job}"), 409)
        assert f"process {os.getpid()}" in left_alone["detail"]
        with connection:
            jobs.end(connection, job, "done")


def test_a_job_does_not_outlive_its_server(indexed: Home, library: Path) -> None:
    picture(library / "newer.jpg", 200)
    with server_process(indexed) as (process, address):
        job = httpx.post(f"{address}api/jobs", json={"kind": "index"}, timeout=60).json()
        process.kill()
    with closing(connect_to_read(indexed)) as connection:
        until = time.monotonic() + 30
        while (ended := jobs.find(indexed, connection, job["id"])) and ended["state"] == "running":
            assert time.monotonic() < until
            time.sleep(0.05)
    assert ended is not None and ended["state"] == "stopped"


def test_what_cannot_be_done_is_said(indexed: Home, library: Path, tmp_path: Path) -> None:
    nowhere = TestClient(create_app(Home(tmp_path / "none")), base_url="http://localhost")
    for method, path in (("POST", "/api/jobs"), ("GET", "/api/jobs"), ("GET", "/api/jobs/1"), ("GET", "/api/failures")):
        document = assert_problem(nowhere.request(method, path, json={"kind": "index"}), 503)
        assert document["type"] == NO_INDEX
    assert not (tmp_path / "none").exists()  # asking makes nothing

    client = TestClient(create_app(indexed), base_url="http://localhost")
    assert "no job 99" in assert_problem(client.get("/api/jobs/99"), 404)["detail"]
    assert_problem(client.delete("/api/jobs/99"), 404)
    assert_problem(client.get(f"/api/jobs/{2**63}"), 422)
    foreign = {"origin": "https://elsewhere.example"}
    assert_problem(client.post("/api/jobs", json={"kind": "index"}, headers=foreign), 403)
    # Where the lock cannot be opened, nothing can be written; root may write anywhere else.
    indexed.lock_path.unlink(missing_ok=True)
    indexed.lock_path.mkdir()
    assert "Cannot write to" in assert_problem(client.post("/api/jobs", json={"kind": "index"}), 503)["detail"]
    indexed.lock_path.rmdir()


def test_failures_are_paged(indexed: Home) -> None:
    client = TestClient(create_app(indexed), base_url="http://localhost")
    first = client.get("/api/failures", params={"limit": 2}).json()
    rest = client.get("/api/failures", params={"limit": 2, "offset": 2}).json()
    assert FailureList.model_validate(first).total == rest["total"] == 3
    names = [Path(one["path"]).name for one in first["failures"] + rest["failures"]]
    assert names == ["broken 0.jpg", "broken 1.jpg", "broken 2.jpg"]
    assert first["failures"][0]["stage"] == "read" and first["failures"][0]["reason"]


def test_the_example_is_a_job() -> None:
    Job.model_validate(JOB_EXAMPLE)
