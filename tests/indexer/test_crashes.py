"""Captioning is killed, and two runs meet; nothing is lost, and searches go on."""

from __future__ import annotations

import json
import os
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
from search.errors import LockedError
from search.home import Home

pytestmark = pytest.mark.usefixtures("loaded_once")

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
