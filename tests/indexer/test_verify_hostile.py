"""A photo that harms its decoder keeps no check from its end, and whoever stops one waits for no photo."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import hostile_tasks as hostile
import pytest
from faults.base import Base
from repairs import change
from support import picture, small_file_room

from indexer.decoding.pool import Pool
from indexer.decoding.settings import DecodingSettings
from indexer.report import IndexOptions
from indexer.run import run_index
from indexer.verify import facts
from indexer.verify.run import verify
from search.home import Home

pytestmark = pytest.mark.usefixtures("loaded_once")


@pytest.fixture
def photos(home: Home, tmp_path: Path) -> Path:
    """Photos that are indexed, of which two will do harm."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        picture(folder / f"{number}.jpg", number)
    for name, harm in (("1.jpg", hostile.SEGFAULT), ("2.jpg", hostile.ENDLESS)):
        (folder / name).write_bytes((folder / name).read_bytes() + harm)
    run_index(home, [folder], IndexOptions(model="starter", captions="off"))
    return folder


@pytest.fixture
def harmful(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float], Pool]]:
    """Lets photos be decoded from now on by tasks that they can harm, for so many seconds each."""
    pools: list[Pool] = []

    def made(seconds: float) -> Pool:
        monkeypatch.setenv("PYTHONPATH", str(Path(hostile.__file__).parent))
        pools.append(Pool(2, DecodingSettings(seconds=seconds), tasks="hostile_tasks"))
        monkeypatch.setattr("indexer.decoding.decoders.pool_of_process", lambda size, settings: pools[-1])
        return pools[-1]

    yield made
    for pool in pools:
        pool.close()


def test_photos_that_kill_their_decoder_keep_no_other_from_being_checked_and_mended(
    home: Home, photos: Path, harmful: Callable[[float], Pool]
) -> None:
    harmful(0.3)
    found = verify(home, photos=True)
    assert found.problems == [] and found.checked["photos_read"] == 4
    assert found.notes == ["2 photos cannot be decoded now, so that only their content was checked."]
    change(home, "UPDATE photos SET height = 49", "UPDATE photos SET taken_at = 'once' WHERE key = 1")
    found = verify(home, photos=True, repair=True)
    assert found.ok and {problem.what[:32] for problem in found.problems} == {
        "What is known of 1 photo cannot ", "What is known of 2 photos is not"
    }  # fmt: skip
    with closing(sqlite3.connect(home.catalog_path)) as connection:
        rows = connection.execute("SELECT name, height FROM files JOIN photos ON photos.key = photo_key").fetchall()
    assert {bytes(name) for name, height in rows if height == 49} == {b"1.jpg", b"2.jpg"}


def test_who_stops_a_check_waits_for_no_photo_that_takes_long(
    home: Home, photos: Path, harmful: Callable[[float], Pool]
) -> None:
    pool = harmful(60)

    def stop() -> None:
        while not any(one.asked for worker in list(pool._workers) if (one := worker._process)):
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGINT)

    stopping = threading.Thread(target=stop)
    began = time.monotonic()
    stopping.start()
    with pytest.raises(KeyboardInterrupt):
        verify(home, photos=True)
    stopping.join()
    assert time.monotonic() - began < 20


def test_large_files_that_are_checked_are_in_memory_few_at_a_time(
    copy: Home, sound: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_file_room(monkeypatch) as room:
        held: list[int] = []
        measured = facts.measured

        def measuring(*arguments: Any) -> Any:
            held.append(room.held)
            return measured(*arguments)

        monkeypatch.setattr("indexer.verify.facts.measured", measuring)
        assert verify(copy, photos=True).checked["photos_read"] == 38
    assert held == [1] * 38
    sizes = Counter(path.stat().st_size for path in sound.photos.iterdir() if path.name != "broken.jpg")
    assert Counter(room.sizes) == sizes
