"""`serve --watch`: the server's own process follows the folders, and is started again when it dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from support import picture

from indexer.report import IndexOptions
from indexer.run import run_index
from search.home import Home


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("following") / "photos"
    folder.mkdir()
    for number in range(3):
        picture(folder / f"{number}.jpg", number)
    return folder


@pytest.fixture(scope="module")
def server(photos: Path) -> Iterator[subprocess.Popen[str]]:
    """A server that was started before there was an index."""
    home = photos.parent / "home"
    command = [sys.executable, "-m", "sightline", "serve", "--watch", "--every", "1h", "--port", "0", "--json"]
    process = subprocess.Popen([*command, "--home", str(home)], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(scope="module")
def address(server: subprocess.Popen[str], photos: Path) -> str:
    assert server.stdout is not None
    address: str = json.loads(server.stdout.readline())["address"]
    home = Home(photos.parent / "home")
    assert not home.catalog_path.exists()  # waiting makes none
    run_index(home, [photos], IndexOptions(model="starter", captions="off"))
    wait_for(lambda: any(job["state"] == "done" for job in jobs(address)[:-1]))  # it has found the library by itself
    return address


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def jobs(address: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"{address}api/jobs").json().get("jobs", [])
    return found


def total(address: str) -> int:
    answer = httpx.get(f"{address}api/search")
    assert answer.status_code == 200, answer.text
    return int(answer.json()["total"])


def follower(server: subprocess.Popen[str]) -> psutil.Process:
    wait_for(lambda: len(psutil.Process(server.pid).children()) == 1)  # it is started beside the first answers
    (child,) = psutil.Process(server.pid).children()
    return child


def test_a_saved_photo_is_found_within_seconds_and_a_removed_one_is_not(
    address: str, photos: Path, server: subprocess.Popen[str]
) -> None:
    picture(photos / "first.jpg", 9)
    wait_for(lambda: total(address) == 4)  # it may still be loading the model
    picture(photos / "new.jpg", 10)
    wait_for(lambda: total(address) == 5, 5)
    (photos / "new.jpg").unlink()
    wait_for(lambda: total(address) == 4, 5)
    last = jobs(address)[0]
    assert (last["cause"], last["stoppable"]) == ("watch", False) and last["pid"] == follower(server).pid
    figures = httpx.get(f"{address}metrics").text
    assert 'sightline_jobs{state="running"} 0.0' in figures and "sightline_files_missing 0.0" in figures


def test_a_follower_that_dies_is_started_again_and_goes_on(
    address: str, photos: Path, server: subprocess.Popen[str]
) -> None:
    before = follower(server)
    before.kill()
    picture(photos / "meanwhile.jpg", 11)
    wait_for(lambda: total(address) == 5)
    assert follower(server).pid != before.pid


def test_a_follower_ends_with_its_server(address: str, server: subprocess.Popen[str]) -> None:
    child = follower(server)
    server.send_signal(signal.SIGINT)
    assert server.wait(30) == 0
    assert not child.is_running() and not psutil.pid_exists(child.pid)


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="signals of POSIX")
def test_a_follower_does_not_outlive_a_server_that_is_killed(photos: Path) -> None:
    home = photos.parent / "home"
    command = [sys.executable, "-m", "sightline", "serve", "--watch", "--port", "0", "--json", "--home", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline()
            child = follower(process)
        finally:
            process.kill()
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 30)
