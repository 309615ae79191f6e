"""How many photos the one writer commits a second, whoever embeds them, and what the catalog grows by with each.

    python -m benchmarks.writer [--photos 1000000] [--scratch FOLDER]

Made-up files, each a photo of its own with measures and an embedding of 512 dimensions, are handed to the recorder as a
run hands them over, 32 at a time. Rates are those of each tenth, so that they tell whether a large catalog is slower.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
from sqlite_utils import Database

from benchmarks.embeddings import made_up_model
from indexer.forget import Renames
from indexer.libraries import Libraries
from indexer.pipeline import ReadFile
from indexer.record import Recorder
from indexer.report import IndexReport
from indexer.scan import FoundFile
from search.catalog import changes, jobs
from search.catalog.connection import connect_to_write
from search.home import Home

DIMENSIONS = 512
_BATCH = 32
_CAMERAS = ("Canon EOS 5D", "Apple iPhone 12", "FUJIFILM X-T3", None)


def batches(first: int, count: int) -> Iterator[list[ReadFile]]:
    """Files as they come from the decoders."""
    for start in range(first, first + count, _BATCH):
        yield [_file(number) for number in range(start, min(start + _BATCH, first + count))]


def _file(number: int) -> ReadFile:
    folder = b"/photos/%d/%02d summer by the lake" % (2000 + number // 1_000_000, number // 1_000 % 1_000)
    taken = f"20{number % 26:02}-{1 + number % 12:02}-{1 + number % 28:02}T{number % 24:02}:{number % 60:02}:00"
    photo = changes.NewPhoto(
        f"{number * 0x9E3779B97F4A7C15 % 2**128:032x}",
        4032,
        3024,
        "JPEG",
        3_500_000,
        taken,
        taken,
        _CAMERAS[number % len(_CAMERAS)],
        None,
        None,
        None,
    )
    found = FoundFile(folder, b"IMG_%08d.jpg" % number, 3_500_000, number)
    return ReadFile(found, photo.id, found.size, found.mtime_ns, photo, None)


def measure(home: Home, connection: sqlite3.Connection, photos: int) -> None:
    """Record so many photos and print how it goes."""
    with connection:
        changes.add_library(connection, b"/photos")
        model = made_up_model(connection, DIMENSIONS)
    recorder = Recorder(
        Database(connection, recursive_triggers=False),
        model,
        jobs.start(connection, "index"),
        IndexReport(),
        Libraries(connection),
        set(),
        Renames(connection),
    )
    some = np.random.default_rng(0).standard_normal((_BATCH, DIMENSIONS)).astype(np.float32)
    some /= np.linalg.norm(some, axis=1, keepdims=True)
    print("photos     photos/s   bytes a photo in the catalog")
    tenth = -(-photos // 10)
    for start in range(0, photos, tenth):
        ready = list(batches(start, min(tenth, photos - start)))
        began = time.perf_counter()
        for files in ready:
            recorder.add(files, some[: len(files)])
        recorder.commit()
        seconds = time.perf_counter() - began
        done = start + sum(map(len, ready))
        size = sum(file.stat().st_size for file in home.path.glob("catalog.db*"))
        print(f"{done:<9} {(done - start) / seconds:9.0f}  {size / done:9.0f}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=lambda value: int(float(value)), default=1_000_000)
    parser.add_argument("--scratch", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
        home = Home(Path(folder))
        with closing(connect_to_write(home)) as connection:
            measure(home, connection, arguments.photos)


if __name__ == "__main__":
    main()
