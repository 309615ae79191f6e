"""What a run costs over a library in which nothing has changed, beside a bare walk that looks at every file.

    python -m benchmarks.rescan PHOTO [--files 1000000] [--rounds 3] [--scratch FOLDER]

PHOTO is indexed with the starter model; the others are made up: files without content, a thousand in each folder, which
the catalog knows as they are, each with a photo and an embedding of its own. The walk lists each folder with
`os.scandir` and takes the status of each file. In each round both take turns; the run is the whole command, from the
start of Python to its end.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from indexer.report import IndexOptions
from indexer.run import run_index
from search.catalog.connection import connect_to_write
from search.home import Home

_A_FOLDER = 1000
# What a process had in memory at most is, in Linux, never less than what the one had that started it. So a small one
# does.
_SMALL = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(status)
"""
_CLI = Path(__file__).parents[1] / "sightline.py"


def walk(root: bytes) -> int:
    """Look at every file below a folder; how many there are."""
    count, folders = 0, [root]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    entry.stat()
                    count += 1
    return count


def fill(home: Home, library: Path, files: int) -> None:
    """Make so many files in `library`, which holds one photo that is indexed, and photos of them."""
    with closing(connect_to_write(home)) as connection, connection:
        photo, model, vector = connection.execute("SELECT photo_key, model_key, vector FROM embeddings").fetchone()
        key = connection.execute("SELECT key FROM libraries").fetchone()[0]
        for start in range(0, files, _A_FOLDER):
            folder = library / f"{start // 100_000:03}" / f"{start // _A_FOLDER:06}"
            folder.mkdir(parents=True)
            some = range(start, min(start + _A_FOLDER, files))
            _insert(connection, photo, some)
            connection.executemany(
                "INSERT INTO embeddings (model_key, photo_key, vector) SELECT ?, key, ? FROM photos WHERE id = ?",
                ((model, vector, f"{number:032x}") for number in some),
            )
            connection.executemany(
                "INSERT INTO files (library_key, folder, name, size, mtime_ns, photo_key)"
                " SELECT ?, ?, ?, 0, ?, key FROM photos WHERE id = ?",
                ((key, bytes(folder), *_made(folder, number), f"{number:032x}") for number in some),
            )


def _insert(connection: sqlite3.Connection, photo: int, some: range) -> None:
    columns = "width, height, format, bytes, taken_at, sort_at, kind, flatness, preview, perceptual_hash, added_at"
    connection.executemany(
        f"INSERT INTO photos (id, {columns}) SELECT ?, {columns} FROM photos WHERE key = ?",
        ((f"{number:032x}", photo) for number in some),
    )


def _made(folder: Path, number: int) -> tuple[bytes, int]:
    name = f"photo {number:08}.jpg"
    with open(folder / name, "xb") as file:
        os.utime(file.fileno(), (number, number))
        return name.encode(), number * 10**9


def measured(command: list[str]) -> tuple[dict[str, Any], int]:
    """What a command that prints JSON says, and the bytes that it had in memory at most."""
    done = subprocess.run([sys.executable, "-c", _SMALL, *command], capture_output=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return json.loads(done.stdout), int(done.stderr.split()[-1]) * 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scratch", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        library, home = Path(scratch) / "library", Home(Path(scratch) / "home")
        library.mkdir()
        shutil.copy2(arguments.photo, library)
        run_index(home, [library], IndexOptions(model="starter", captions="off", recall=1.0))
        fill(home, library, arguments.files)
        command = [sys.executable, str(_CLI), "index", "--home", str(home.path), "--json"]
        subprocess.run(command, check=True, capture_output=True)  # publishes, and tags what is new to it
        print("round  walk s  run s  ratio  scan s  scan:walk  most MiB")
        ratios = []
        for number in range(1, arguments.rounds + 1):
            began = time.perf_counter()
            count = walk(os.fsencode(library))
            walked = time.perf_counter()
            done, memory = measured(command)
            ran = time.perf_counter() - walked
            if done["unchanged"] != count:
                raise SystemExit(f"{done['unchanged']} of {count} files were unchanged")
            walked -= began
            ratios.append(ran / walked)
            scan = done["stages"]["scan"]
            print(
                f"{number:5}  {walked:6.2f}  {ran:5.2f}  {ratios[-1]:5.2f}  {scan:6.2f}  {scan / walked:9.2f}"
                f"  {memory / 2**20:8.0f}",
                flush=True,
            )
        print(f"median run:walk {statistics.median(ratios):.2f} over {count} files")


if __name__ == "__main__":
    main()
