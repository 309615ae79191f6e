"""What a Ray cluster adds to, and takes from, embedding on one machine: `--executor ray` beside `local`, in turn.

    python -m benchmarks.executors PHOTOS [--model starter] [--times 4] [--workers N] [--rounds 3]

PHOTOS is a folder of photos; it is copied so many times, so that the steady rate is measured over long enough. With
RAY_ADDRESS the cluster there is measured, else one that each run starts on this machine: with the same cores as `local`
has, it can only be slower, and the ratio says by how much. Of each run: how long the first photos take after the model
is loaded here (of Ray: until the cluster and its workers are up and have loaded theirs), and photos a second from then
on.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from indexer.progress import Silent
from indexer.report import IndexOptions
from indexer.run import run_index
from search.home import Home
from search.models.encoder import load_encoder


class Stopwatch(Silent):
    """When the first photos of the stage `embed` came, and the last."""

    def __init__(self) -> None:
        self.began = self.first = self.last = 0.0
        self.first_done = self.done = 0
        self._stage = ""

    def stage(self, name: str, total: int | None) -> None:
        """See `Progress.stage`."""
        self._stage = name
        if name == "embed":
            self.began = time.perf_counter()

    def advance(self, done: int, failed: int) -> None:
        """See `Progress.advance`."""
        if self._stage == "embed" and done > self.done:
            self.last, self.done = time.perf_counter(), done
            if not self.first:
                self.first, self.first_done = self.last, done


@dataclass(frozen=True)
class Run:
    """Seconds until the first photos, and photos a second after those."""

    start: float
    rate: float


def measured(photos: Path, options: IndexOptions) -> Run:
    """One run into a new home."""
    with tempfile.TemporaryDirectory() as home:
        watch = Stopwatch()
        run_index(Home(Path(home)), [photos], options, watch)
    return Run(watch.first - watch.began, (watch.done - watch.first_done) / (watch.last - watch.first))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--times", type=int, default=4)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    load_encoder(arguments.model, convert=True)
    ratios = []
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(arguments.times):
            shutil.copytree(arguments.photos, Path(scratch) / str(number))
        count = sum(file.is_file() for file in Path(scratch).rglob("*"))
        print(f"{platform.machine()}, {count} files, model {arguments.model}")
        print("round  local: start, s  photos/s  ray: start, s  photos/s  ray:local")
        for number in range(1, arguments.rounds + 1):
            common = IndexOptions(model=arguments.model, captions="off", download=False)
            local = measured(Path(scratch), common)
            options = IndexOptions(
                model=arguments.model, captions="off", download=False, workers=arguments.workers, executor="ray"
            )
            ray = measured(Path(scratch), options)
            ratios.append(ray.rate / local.rate)
            print(
                f"{number:5}  {local.start:15.1f}  {local.rate:8.0f}  {ray.start:13.1f}  {ray.rate:8.0f}  "
                f"{ratios[-1]:9.2f}",
                flush=True,
            )
    print(f"median ray:local {statistics.median(ratios):.2f}, lowest {min(ratios):.2f}")


if __name__ == "__main__":
    main()
