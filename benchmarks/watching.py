"""How soon a photo that is saved is found, and one that is deleted is not, while 100,000 files are followed.

    python benchmarks/watching.py --images photos

A server with `--watch` follows a library whose files are all there (most photos are made up, as in
benchmarks/synthetic.py, with a file of one byte each). Photos are written into it in two halves with a pause, then
renamed, then deleted; the time is from the last write to the first answer of the API that shows it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from benchmarks.synthetic import grow
from search.catalog.connection import connect_to_write
from search.home import Home

LONGEST = 60.0


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="sightline-watching-") as temporary:
        folder = Path(temporary)
        library, home = folder / "library", Home(folder / "home")
        some = sorted(options.images.glob("*.jpg"))[:200]
        library.mkdir()
        for file in some:
            shutil.copy2(file, library)
        grow(home, library, options.photos)
        files = _make_files(home, library)
        print(f"{files} files in {library}", file=sys.stderr)
        with _served(home) as server:
            assert server.stdout is not None
            address = json.loads(server.stdout.readline())["address"]
            measured = _measure(address, library, some, options.rounds)
            server.terminate()
    print(f"{options.photos} photos, {options.rounds} rounds: seconds from the last write to the answer")
    for name, seconds in measured.items():
        print(f"  {name:8} p50 {np.quantile(seconds, 0.5):.2f}  max {max(seconds):.2f}")


def _measure(address: str, library: Path, some: list[Path], rounds: int) -> dict[str, list[float]]:
    measured: dict[str, list[float]] = {"saved": [], "renamed": [], "deleted": []}
    with httpx.Client(base_url=address, timeout=60) as client:

        def seconds_until(paths: set[str], gone: set[str]) -> float:
            began = time.monotonic()
            while time.monotonic() - began < LONGEST:
                hits = client.get("/api/search", params={"q": "folder:arrivals", "limit": 50}).json().get("hits", [])
                there = {hit["path"] for hit in hits}
                if paths <= there and not gone & there:
                    return time.monotonic() - began
                time.sleep(0.02)
            raise SystemExit(f"It was not to be seen within {LONGEST:.0f} s: {paths or gone}")

        arrivals = library / "arrivals"
        arrivals.mkdir()
        for number in range(-1, rounds):
            path, other = arrivals / f"{number}.jpg", arrivals / f"renamed {number}.jpg"
            _write_slowly(path, some[number % len(some)], number)
            saved = seconds_until({str(path)}, set())
            path.rename(other)
            renamed = seconds_until({str(other)}, {str(path)})
            other.unlink()
            deleted = seconds_until(set(), {str(other)})
            if number >= 0:  # at first the model is still being loaded
                for name, seconds in (("saved", saved), ("renamed", renamed), ("deleted", deleted)):
                    measured[name].append(seconds)
    return measured


def _write_slowly(path: Path, photo: Path, number: int) -> None:
    with Image.open(photo) as image:
        aside = path.parents[2] / "aside.jpg"
        image.rotate(1 + number).save(aside)
    content = aside.read_bytes()
    with open(path, "wb") as file:
        file.write(content[: len(content) // 2])
        file.flush()
        time.sleep(0.4)
        file.write(content[len(content) // 2 :])


def _make_files(home: Home, library: Path) -> int:
    """Give each made-up photo a file of one byte, as old as the catalog has it."""
    with closing(connect_to_write(home)) as connection, connection:
        made = connection.execute("SELECT key, folder, name FROM files WHERE size = 1").fetchall()
        for key, folder, name in made:
            place = os.path.join(os.fsencode(library), folder.lstrip(b"/"))
            os.makedirs(place, exist_ok=True)
            file = os.path.join(place, name)
            with open(file, "wb") as stream:
                stream.write(b"x")
            os.utime(file, ns=(1, 1))
            connection.execute("UPDATE files SET folder = ?, mtime_ns = ? WHERE key = ?", (place, 1, key))
    return len(made)


def _served(home: Home) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "sightline", "serve", "--watch", "--port", "0", "--json", "--home", str(home.path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="a folder of real photos, as JPEG files")
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=20)
    return parser.parse_args()


if __name__ == "__main__":
    main()
