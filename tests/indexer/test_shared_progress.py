"""A run's progress, as other processes see it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from indexer import shared_progress
from indexer.printing import print_status
from indexer.progress import Silent
from indexer.shared_progress import SharedProgress
from search.catalog import job_progress, jobs
from search.catalog.clock import now
from search.catalog.connection import connect_to_write
from search.home import Home
from search.status import status

JOB = 7


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(shared_progress, "time", clock)
    return clock


@pytest.fixture
def seen(home: Home) -> Any:
    home.path.mkdir()
    return lambda: job_progress.read(home, JOB)


def test_rate_and_time_left_are_those_of_the_last_half_minute(home: Home, clock: Clock, seen: Any) -> None:
    progress = SharedProgress(Silent(), home, JOB)
    progress.stage("embed", 1000)
    assert seen()["total"] == 1000 and seen()["rate"] is seen()["seconds_left"] is None
    for second in range(1, 61):  # fast at first, then slow
        clock.now += 1
        progress.advance(10 * min(second, 20) + 2 * max(0, second - 20), 3)
    assert (seen()["done"], seen()["failed"], seen()["rate"]) == (280, 3, 2.0)
    assert seen()["seconds_left"] == pytest.approx(360)
    progress.stage("publish", None)
    assert (seen()["stage"], seen()["done"], seen()["total"], seen()["rate"]) == ("publish", 0, None, None)


def test_it_is_written_once_a_second_at_most(home: Home, clock: Clock, seen: Any) -> None:
    progress = SharedProgress(Silent(), home, JOB)
    progress.stage("embed", 1000)
    for done in range(1, 100):
        clock.now += 0.001
        progress.advance(done, 0)
    assert seen()["done"] == 0
    clock.now += 1
    progress.advance(100, 0)
    assert seen()["done"] == 100


def test_a_disk_that_takes_nothing_stops_no_run(tmp_path: Path) -> None:
    SharedProgress(Silent(), Home(tmp_path / "not there"), JOB).stage("scan", None)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"job": 6, "stage": "embed"}', '"7"'])
def test_what_a_killed_process_left_behind_is_of_no_job(home: Home, seen: Any, text: str) -> None:
    home.progress_path.write_text(text)
    assert seen() is None


def test_status_says_how_far_the_running_job_is(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(connect_to_write(home)) as connection:
        job = jobs.start(connection, "index")
        far = {"stage": "embed", "done": 5, "total": 9, "failed": 1, "rate": 2.5, "seconds_left": 1.6, "at": now()}
        job_progress.write(home, job, far)
        document = status(home, connection)
        assert document["jobs"][0]["progress"] == far
        print_status(document, [])
        assert "running: embed, 5 of 9, about 2 s left" in capsys.readouterr().out
        jobs.end(connection, job, "done")
        assert status(home, connection)["jobs"][0]["progress"] is None
