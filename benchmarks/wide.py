"""Searches that many photos answer: by frequent words, and behind filters that let many pass.

    python -m benchmarks.wide --images PHOTOS [--photos 1000000] [--home HOME] [--rounds 20] [--writing]

Most photos are made up (benchmarks/synthetic.py); with `--home` the library is kept there for the next time. An engine
is asked in this process, by one thread. Words are taken from the library by how many photos have them. `first` is the
first question of a kind; the others take turns among as many different ones as the last column says. With `--writing`
a caption is changed before every question.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from itertools import cycle, islice, pairwise
from pathlib import Path

import numpy as np

from benchmarks.synthetic import grow
from search.answer import Request
from search.catalog.connection import connect_to_read
from search.catalog.editing import put_caption
from search.engine import Engine
from search.followed import SETTLED_SECONDS
from search.home import Home

KINDS: dict[str, tuple[str, ...]] = {
    "50 %": tuple(f"after:2014-{month:02}" for month in range(1, 13)),
    "90 %": tuple(f"after:2006-{month:02}" for month in range(1, 13)),
    "1 %": tuple(f"on:{year}-03" for year in range(2006, 2023)),
    "all": ("type:jpeg", "-orientation:square after:2001", "-is:drawing type:jpg"),
    "camera, folder": ("camera:canon", "folder:synthetic", "camera:iphone folder:synthetic", "-camera:nikon"),
}


def frequent(home: Home, low: float, high: float, count: int) -> list[str]:
    """Words of letters alone that stand in so large a part of the photos."""
    with closing(connect_to_read(home)) as connection:
        connection.execute("CREATE VIRTUAL TABLE temp.known USING fts5vocab(main, words, row)")
        (photos,) = connection.execute("SELECT count(*) FROM photos WHERE orphaned_at IS NULL").fetchone()
        rows = connection.execute(
            "SELECT term FROM known WHERE doc BETWEEN ? AND ? AND length(term) > 2 AND term NOT GLOB '*[^a-z]*'"
            " ORDER BY doc DESC LIMIT ?",
            (low * photos, high * photos, count),
        )
        return [row[0] for row in rows]


def questions(home: Home) -> dict[str, list[Request]]:
    """What is asked, by its kind."""
    rare, many = frequent(home, 0.0005, 0.002, 12), frequent(home, 0.1, 0.6, 12)
    both = [f"{one} {other}" for one, other in pairwise(many)]
    asked = {
        "a rare word": [Request(word) for word in rare],
        "a frequent word": [Request(word) for word in many],
        "two frequent words": [Request(pair) for pair in both],
        "two frequent words, words alone": [Request(pair, mode="words") for pair in both],
        "a frequent word, with facets": [Request(word, facets=True) for word in many],
        '"a frequent word" in quotes': [Request(f'"{word}"') for word in many],
        "-a frequent word": [Request(f"two people -{word}") for word in many],
    }
    for kind, filters in KINDS.items():
        asked[f"filter {kind}, by meaning"] = [Request(f"a quiet evening {one}", mode="meaning") for one in filters]
        asked[f"filter {kind}, alone"] = [Request(one) for one in filters]
        asked[f"filter {kind}, two frequent words"] = [
            Request(f"{pair} {one}") for pair, one in zip(both, filters, strict=False)
        ]
    asked["filter 50 %, alone, with facets"] = [Request(one, facets=True) for one in KINDS["50 %"]]
    return asked


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="a folder of photos, of which the others are made")
    parser.add_argument("--photos", type=float, default=1e6)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--only", default="", help="kinds of questions that contain this")
    parser.add_argument("--writing", action="store_true", help="change a caption before every question")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Home(options.home or Path(folder))
        if not home.catalog_path.exists():
            if options.images is None:
                parser.error("there is nothing in the home yet: give --images")
            grow(home, options.images, int(options.photos), thumbnails=False)
        print(f"{platform.machine()}, {os.cpu_count()} cores", flush=True)
        with Engine.open(home) as engine:
            measure(engine, home, options.rounds, options.only, options.writing)


def measure(engine: Engine, home: Home, rounds: int, only: str, writing: bool) -> None:
    """Ask all questions, and print how long they took."""
    print(f"warm after {timed(engine.warm):.0f} ms")
    written = engine.search(Request(limit=1)).hits[0].id
    print(f"one by meaning: {timed(lambda: engine.search(Request('a dog', mode='meaning'))):.0f} ms", flush=True)
    time.sleep(SETTLED_SECONDS)
    for text in ("nothing", "on:1990"):
        engine.search(Request(text))
    print("| | hits | first, ms | p50, ms | p95, ms | different |\n|---|---|---|---|---|---|")
    number = 0
    for kind, asked in questions(home).items():
        if only not in kind:
            continue
        took = []
        for request in islice(cycle(asked), rounds + 1):
            if writing:
                number += 1
                put_caption(home, written, f"changed {number} times")
            began = time.perf_counter()
            answer = engine.search(request)
            took.append(1000 * (time.perf_counter() - began))
        p50, p95 = np.percentile(took[1:], [50, 95])
        print(
            f"| {kind} | {answer.total:,} | {took[0]:.1f} | {p50:.1f} | {p95:.1f} | {min(len(asked), rounds)} |",
            flush=True,
        )
    print(f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def timed(what: Callable[[], object]) -> float:
    """How long it takes, in milliseconds."""
    began = time.perf_counter()
    what()
    return 1000 * (time.perf_counter() - began)


if __name__ == "__main__":
    main()
