"""What `/metrics` tells of the index and of its jobs."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, Gauge

STATES = ("running", "done", "failed", "stopped", "died")


class IndexFigures:
    """Gauges in a registry, set anew for each look."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register them, all at 0."""

        def gauge(name: str, what: str, *labels: str) -> Gauge:
            return Gauge(f"sightline_{name}", what, labels, registry=registry)

        self._photos = gauge("photos", "Photos in the catalog.")
        self._generation = gauge("index_generation", "The generation that searches use.")
        self._failures = gauge("failures", "Files that could not be read.")
        self._missing = gauge("files_missing", "Files that are not where they were and are not given up.")
        self._offline = gauge("libraries_offline", "Libraries that were not there when they were last looked for.")
        self._waiting = gauge("photos_waiting", "Photos that wait for a stage of describing.", "stage")
        self._jobs = gauge("jobs", "The last jobs, two hundred at most, by how they are.", "state")
        self._done = gauge("job_done", "How much of its present stage the running job has done.")
        self._total = gauge("job_total", "Of how much, where that is known.")
        self._ended = gauge("job_ended_timestamp_seconds", "When a job last ended in this way.", "state")

    def set(self, status: dict[str, Any], jobs: list[dict[str, Any]]) -> None:
        """Show a `status` of the index, empty where there is none, and its last `jobs`, newest first."""
        self._photos.set(status.get("photos") or 0)
        self._generation.set(status.get("generation") or 0)
        self._failures.set(status.get("failures") or 0)
        libraries = status.get("libraries", [])
        self._missing.set(sum(library["missing"] for library in libraries))
        self._offline.set(sum(library["offline"] is not None for library in libraries))
        for stage, counts in status.get("described", {}).items():
            self._waiting.labels(stage).set(counts["waiting"])
        states = Counter(job["state"] for job in jobs)
        for state in STATES:
            self._jobs.labels(state).set(states[state])
        progress = next((job["progress"] for job in jobs if job["progress"]), None) or {}
        self._done.set(progress.get("done") or 0)
        self._total.set(progress.get("total") or 0)
        for job in reversed(jobs):
            if job["ended_at"] is not None:
                self._ended.labels(job["state"]).set(datetime.fromisoformat(job["ended_at"]).timestamp())
