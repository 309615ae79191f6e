"""Jobs in the catalog: who asked for them, whether they live, how many are kept."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from search.catalog import job_progress, jobs
from search.catalog.connection import connect_to_write
from search.home import Home


@pytest.fixture
def catalog(home: Home) -> Iterator[sqlite3.Connection]:
    with closing(connect_to_write(home)) as connection:
        yield connection


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="seconds")


def state(home: Home, catalog: sqlite3.Connection, key: int) -> str:
    found = jobs.find(home, catalog, key)
    assert found is not None
    return str(found["state"])


def test_a_job_says_who_asked_for_it(home: Home, catalog: sqlite3.Connection) -> None:
    jobs.start(catalog, "index")
    jobs.start(catalog, "index", "watch")
    newest, before = jobs.recent(home, catalog)
    assert (newest["cause"], before["cause"]) == ("watch", "command")
    assert newest["pid"] == os.getpid() and newest["state"] == "running"


def test_a_process_that_is_gone_has_died(home: Home, catalog: sqlite3.Connection) -> None:
    key = jobs.start(catalog, "index")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    catalog.execute("UPDATE jobs SET pid = ?", (gone.pid,))
    assert state(home, catalog, key) == "died"
    assert jobs.running(home, catalog) is None


@pytest.mark.parametrize("host", ["another machine", None])
def test_a_job_that_is_silent_has_died_wherever_it_runs(
    home: Home, catalog: sqlite3.Connection, host: str | None
) -> None:
    key = jobs.start(catalog, "index")
    if host is not None:
        catalog.execute("UPDATE jobs SET host = ?", (host,))
    catalog.execute("UPDATE jobs SET started_at = ?", (ago(3600),))
    assert state(home, catalog, key) == "died"
    job_progress.write(home, key, {"stage": "embed", "done": 1, "at": ago(5)})  # a sign of life
    assert state(home, catalog, key) == "running"
    job_progress.write(home, key, {"stage": "embed", "done": 1, "at": ago(jobs.SILENCE + 1)})
    assert state(home, catalog, key) == "died"
    job_progress.write(home, key, {"stage": "embed", "done": 1, "at": ago(-86_400)})  # the clock was set back
    assert state(home, catalog, key) == "running"


def test_the_next_job_says_of_one_that_died_that_it_went_on(home: Home, catalog: sqlite3.Connection) -> None:
    first = jobs.start(catalog, "index")
    second = jobs.start(catalog, "index")
    died = jobs.find(home, catalog, first)
    assert died is not None and died["state"] == "died" and died["ended_at"] is not None
    assert died["message"] == f"Its process ended without a word; job {second} went on from there."


def test_many_small_jobs_push_no_others_out(
    home: Home, catalog: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "KEPT", 3)
    rare = [jobs.start(catalog, "index", "command") for _ in range(2)]
    often = [jobs.start(catalog, "index", "watch") for _ in range(10)]
    assert [job["id"] for job in reversed(jobs.recent(home, catalog, 100))] == [*rare, *often[-3:]]


@pytest.mark.parametrize("text", ["", "{", "null", '{"job": 1}', '{"job": 1, "at": 5}', '{"job": 1, "at": "soon"}'])
def test_progress_that_is_none_is_passed_over(home: Home, catalog: sqlite3.Connection, text: str) -> None:
    key = jobs.start(catalog, "index")
    home.progress_path.write_text(text)
    found = jobs.find(home, catalog, key)
    assert found is not None and found["progress"] is None and found["state"] == "running"
