"""Indexing is killed at random moments, and two runs meet; nothing is lost, and searches go on."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from support import picture

from indexer.lock import writer_lock
from indexer.report import IndexOptions
from indexer.run import run_index
from search.catalog.connection import connect_to_read
from search.engine import Engine, Request
from search.errors import LockedError, SightlineError
from search.home import Home

KILLS = int(os.environ.get("SIGHTLINE_TEST_KILLS", "4"))
# A small group makes many commits, so that kills fall between and inside them.
INDEX = """
import sys
from pathlib import Path
import indexer.record
indexer.record.GROUP_SECONDS = 0.0
from indexer.report import IndexOptions
from indexer.run import run_index
from search.home import Home
print("go", flush=True)
options = IndexOptions(model="starter", captions="off", batch_size=4, workers=2)
run_index(Home(Path(sys.argv[1])), [sys.argv[2]], options)
"""


def test_killed_again_and_again_it_finishes_with_every_photo_once(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(400):
        picture(folder / f"{number}.jpg", number)
    dice = random.Random(0)
    embedded = 0
    for _ in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-c", INDEX, str(home.path), str(folder)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        # Loading the model takes most of a run; the kills are to fall while it reads and writes.
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline and _embedded(home) <= embedded:
            time.sleep(0.01)
        time.sleep(dice.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        now = _embedded(home)
        assert now >= embedded  # what was committed stays
        embedded = now
        with Engine.open(home) as engine:
            assert engine.search(Request("anything", mode="meaning", limit=1000, include_all=True)).total == embedded
    report = run_index(home, [folder])
    assert report.unchanged + report.added == 400
    with Engine.open(home) as engine:
        paths = [
            hit.path for hit in engine.search(Request("anything", mode="meaning", limit=1000, include_all=True)).hits
        ]
        jobs = engine.status()["jobs"]
    assert len(paths) == len(set(paths)) == 400
    assert jobs[0]["state"] == "done" and "died" in {job["state"] for job in jobs[1:]}


CAPTION = """
import sys, time
from pathlib import Path
from indexer.describe.starter import StarterCaptioner
from indexer.report import IndexOptions
from indexer.run import run_index
from search.home import Home
write = StarterCaptioner.caption
def slowly(self, images):
    time.sleep(0.4)
    return write(self, images)
StarterCaptioner.caption, StarterCaptioner.batch_size = slowly, 2
run_index(Home(Path(sys.argv[1])), [], IndexOptions(captions="starter"))
"""


def test_killed_while_captions_are_written_it_keeps_those_that_were(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(60):
        picture(folder / f"{number}.jpg", number)
    run_index(home, [folder], IndexOptions(model="starter", captions="off"))
    process = subprocess.Popen([sys.executable, "-c", CAPTION, str(home.path)])
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline and not _captioned(home):
        time.sleep(0.05)
    assert process.poll() is None, "it ended before it was killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = _captioned(home)
    assert 0 < kept < 60
    assert run_index(home).captioned == 60 - kept and _captioned(home) == 60


def _captioned(home: Home) -> int:
    with closing(connect_to_read(home)) as connection:
        captions = connection.execute("SELECT count(*) FROM captions").fetchone()[0]
        assert (
            captions == connection.execute("SELECT count(*) FROM descriptions WHERE stage = 'captions'").fetchone()[0]
        )
        return int(captions)


def _embedded(home: Home) -> int:
    try:
        connection = connect_to_read(home)
    except SightlineError:
        return 0
    try:
        return int(connection.execute("SELECT count(*) FROM embeddings").fetchone()[0])
    finally:
        connection.close()


def test_a_second_run_says_who_holds_the_lock(home: Home, library: Path) -> None:
    run_index(home, [library])
    with writer_lock(home):
        with pytest.raises(LockedError, match="already writing"):
            run_index(home)
        done = subprocess.run(
            [sys.executable, "-m", "sightline", "index", "--home", str(home.path), "--json"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1 and "already writing" in json.loads(done.stdout)["error"]
        with Engine.open(home) as engine:
            assert engine.search(Request()).total > 0
    run_index(home)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_that_cannot_be_written_is_said_and_still_answers(home: Home, library: Path) -> None:
    run_index(home, [library])
    home.path.chmod(0o555)
    try:
        with Engine.open(home) as engine:
            assert engine.search(Request()).total > 0
    finally:
        home.path.chmod(0o755)
