"""How long a server takes to its first answer, and to answer one client and many.

    python -m benchmarks.query --images PHOTOS [--home HOME] [--clients 64] [--seconds 10]

PHOTOS are indexed with the model (`--model random:ViT-B-32` is as in benchmarks/index.py); without them HOME has an
index. The server is a process of its own on the same machine, and shares its cores with the clients, which ask one
question after another on a connection that they keep, each for a text that nobody has asked for before: nothing comes
from a cache.
"""

from __future__ import annotations

import argparse
import http.client
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from urllib.parse import urlencode

import httpx
import numpy as np

from benchmarks.index import random_checkpoint
from indexer.report import IndexOptions
from indexer.run import run_index
from search.home import Home

ROOT = Path(__file__).parents[1]
PORT = 8765
ADDRESS = f"http://127.0.0.1:{PORT}"
TEXTS = count()


def question() -> dict[str, str | int]:
    """One that was not asked before."""
    return {"q": f"photo number {next(TEXTS)} of a dog on the beach", "limit": 50, "mode": "meaning"}


@contextmanager
def serving(home: Home) -> Iterator[float]:
    """A server; how long it took from its start to its first answer."""
    began = time.perf_counter()
    command = [sys.executable, str(ROOT / "sightline.py"), "serve", "--home", str(home.path), "--port", str(PORT)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                httpx.get(f"{ADDRESS}/api/search", params=question(), timeout=60).raise_for_status()
                break
            except httpx.TransportError:
                time.sleep(0.01)
        yield time.perf_counter() - began
    finally:
        server.terminate()
        server.wait()


def asked(clients: int, seconds: float) -> tuple[list[float], int]:
    """How long the answers took that so many clients got in that time, and how many were refused."""
    times: list[float] = []
    refused: list[int] = []
    until = time.perf_counter() + seconds

    def client() -> None:
        # Not httpx, which takes more of the machine for a request than the server does.
        with closing(http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)) as connection:
            while (began := time.perf_counter()) < until:
                connection.request("GET", f"/api/search?{urlencode(question())}")
                answer = connection.getresponse()
                answer.read()
                if answer.status == 200:
                    times.append(time.perf_counter() - began)
                else:
                    refused.append(answer.status)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, len(refused)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--seconds", type=float, default=10)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Home(arguments.home or Path(folder) / "home")
        if arguments.images is not None:
            name = arguments.model
            if name.startswith("random:"):
                name = random_checkpoint(name.removeprefix("random:"), Path(folder) / "checkpoint")
            run_index(home, [arguments.images], IndexOptions(model=name, captions="off"))
        with serving(home) as first:
            print(f"{platform.machine()}, {os.cpu_count()} cores; first answer after {first:.2f} s")
            print("clients  answers/s  p50 ms  p95 ms  refused")
            for clients in arguments.clients:
                times, refused = asked(clients, arguments.seconds)
                p50, p95 = np.percentile(np.asarray(times) * 1000, [50, 95])
                rate = len(times) / arguments.seconds
                print(f"{clients:7}  {rate:9.0f}  {p50:6.1f}  {p95:6.1f}  {refused:7}", flush=True)


if __name__ == "__main__":
    main()
