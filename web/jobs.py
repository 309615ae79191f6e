"""Runs of the indexer that the server starts: one at a time, each in a process of its own that never outlives it."""

from __future__ import annotations

import json
import logging
import threading
from typing import Any

from search.catalog import jobs
from search.catalog.connection import Reader
from search.home import Home
from web.access import EngineAccess
from web.problems import ProblemError
from web.processes import start_indexer

logger = logging.getLogger("sightline.web")
_STOPPING_SECONDS = 10.0
"""A request to stop waits so long for the batch in flight."""
_CLOSING_SECONDS = 5.0
"""A server that ends waits so long; what is then still at work is killed, which loses no more than that batch."""


class Jobs:
    """Starts, shows and stops jobs. Thread-safe; its methods block, so call them in worker threads.

    A run that somebody else has started is shown, but never stopped: all that is known of it is a number of a process,
    which may be another one's by now, and whoever sees the page need not be who sits at that terminal.
    """

    def __init__(self, access: EngineAccess) -> None:
        self._access = access
        self._starting = threading.Lock()
        self._child: _Child | None = None
        self._closed = False

    def start(self) -> dict[str, Any]:
        """Bring all known libraries up to date; returns the job's document.

        Raises:
            ProblemError: 409 while a job runs, whoever started it; 503 where there is no index, nothing to index, no
                right to write, or the server is ending.
        """
        with self._access.catalog():
            pass  # without an index there is nothing to bring up to date, and asking should not make one
        if not self._starting.acquire(blocking=False):
            raise ProblemError(409, "A job is being started at this moment; see `GET /api/jobs`.")
        try:
            if self._closed:
                raise ProblemError(503, "The server is ending, and starts no job any more.")
            child = self._child
            if child is not None and child.runs:
                if self.find(child.job)["state"] == "running":
                    raise self._busy(child.job)
                child.wait(_STOPPING_SECONDS)  # it has said how it ended, and does so
            child = _Child(self._access.home)
            said = child.first_line
            if "job" not in said:
                if said.get("locked"):
                    raise self._busy(None, said["error"])
                raise ProblemError(503, said.get("error", "The job did not start; the server's log says why."))
            self._child = child
            if self._closed:
                child.ask_to_stop()
            return self.find(child.job)
        finally:
            self._starting.release()

    def stop(self, job: int) -> dict[str, Any]:
        """Stop a job that this server has started; returns its document, in which it may still run for a moment.

        Raises:
            ProblemError: 404 where there is no such job; 409 where it has ended, or is not this server's.
        """
        found = self.find(job)
        child = self._child
        if child is None or child.job != job:
            if found["state"] == "running":
                raise ProblemError(
                    409,
                    f"Job {job} was not started by this server, but by process {found['pid']} on {found['host']}: "
                    "stop it there, with Ctrl+C.",
                )
        elif child.runs:
            child.ask_to_stop()
            child.wait(_STOPPING_SECONDS)
            return self.find(job)
        raise ProblemError(409, f"Job {job} has ended already: {self.find(job)['state']}.")

    def find(self, job: int) -> dict[str, Any]:
        """The document of one job. Raises ProblemError 404 where there is no such job."""
        with self._access.catalog() as connection:
            found = jobs.find(self._access.home, connection, job)
        if found is None:
            raise ProblemError(404, f"There is no job {job}; `GET /api/jobs` lists the last ones.")
        return self.shown(found)

    def recent(self, limit: int) -> list[dict[str, Any]]:
        """The newest jobs, newest first."""
        with self._access.catalog() as connection:
            return [self.shown(job) for job in jobs.recent(self._access.home, connection, limit)]

    def newest(self, connection: Reader) -> dict[str, Any] | None:
        """The newest job that `connection` sees, or None before the first."""
        found = jobs.recent(self._access.home, connection, 1)
        return self.shown(found[0]) if found else None

    def shown(self, job: dict[str, Any]) -> dict[str, Any]:
        """A job's document, with whether this server can stop it."""
        child = self._child
        ours = child is not None and child.job == job["id"] and child.runs
        return {**job, "stoppable": ours and job["state"] == "running"}

    def ask_to_stop(self) -> None:
        """The server is ending: so does its job. Returns at once."""
        self._closed = True
        if self._child is not None:
            self._child.ask_to_stop()

    def close(self) -> None:
        """Wait until the server's job has ended, one that is just being started as well."""
        self.ask_to_stop()
        begun = self._starting.acquire(timeout=_CLOSING_SECONDS)
        if self._child is not None:
            self._child.end(_CLOSING_SECONDS)
        if begun:
            self._starting.release()

    def _busy(self, job: int | None, sentence: str = "") -> ProblemError:
        with self._access.catalog() as connection:
            running = jobs.running(self._access.home, connection)
        if running is not None and job in (None, running["id"]):
            job = running["id"]
            sentence = (
                f"Job {job} (`{jobs.command(running['kind'])}`, since {running['started_at']}) is at work already."
            )
        headers = {"Location": f"/api/jobs/{job}"} if job is not None else None
        return ProblemError(409, sentence or f"Job {job} is at work already.", headers=headers)


class _Child:
    """A process that runs the indexer, with a thread that waits for its end.

    Attributes:
        first_line: what it said of its start: the id of its `job`, or the `error`.
        job: that id; 0 where it did not start.
    """

    def __init__(self, home: Home) -> None:
        """Start it, and wait until it has a job or has failed."""
        self._process = start_indexer(home, cause="page")
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin = self._process.stdin
        with self._process.stdout as stdout:
            line = stdout.readline()
        self.first_line: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {}
        self.job: int = self.first_line.get("job", 0)
        self._waiter = threading.Thread(target=self._wait, name="sightline-job", daemon=True)
        self._waiter.start()
        if not self.job:
            self._waiter.join()

    @property
    def runs(self) -> bool:
        """Whether it has not ended yet."""
        return self._waiter.is_alive()

    def ask_to_stop(self) -> None:
        """Let it commit what it has, and end. Returns at once."""
        self._stdin.close()

    def wait(self, seconds: float) -> None:
        """Wait for its end, for so long at most."""
        self._waiter.join(seconds)

    def end(self, seconds: float) -> None:
        """Ask it to stop; kill it when that takes longer than `seconds`."""
        self.ask_to_stop()
        self.wait(seconds)
        if self.runs:
            self._process.kill()
            self._waiter.join()

    def _wait(self) -> None:
        status = self._process.wait()
        self._stdin.close()
        if status not in (0, 1):  # 1 comes with a sentence
            logger.error("the process of job %s ended with status %s", self.job, status)
