"""Photos that kill what decodes them, and files that change under the reader's hands, in a run of the indexer."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hostile_tasks as hostile
import pytest
from support import picture, written_a_moment_ago

from indexer import pipeline
from indexer.decoding.decoders import Decoders
from indexer.decoding.pool import Pool
from indexer.decoding.settings import DecodingSettings
from indexer.pipeline import ReadAhead
from indexer.pixels import DecodingRoom
from indexer.report import IndexOptions, IndexReport
from indexer.retries import is_due
from indexer.run import run_index
from indexer.scan import UNSETTLED, FoundFile, settled_ns
from search.catalog import failures
from search.catalog.connection import connect_to_read
from search.engine import Engine, Request
from search.home import Home
from search.models.preprocess import Preprocess

STARTER = IndexOptions(model="starter", captions="off", workers=2)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        picture(folder / f"{number}.jpg", number)
    return folder


@pytest.fixture
def harmful(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs of the indexer decode with tasks that photos can harm, half a second each."""
    monkeypatch.setenv("PYTHONPATH", str(Path(hostile.__file__).parent))
    monkeypatch.setenv("SIGHTLINE_DECODING_SECONDS", "0.5")
    pool = Pool(2, DecodingSettings(seconds=0.5), tasks="hostile_tasks")
    monkeypatch.setattr("indexer.decoding.decoders.pool_of_process", lambda size, settings: pool)
    yield
    pool.close()


def counts(report: IndexReport) -> dict[str, int]:
    return {name: value for name, value in report.counts().items() if value and name != "tagged"}


def reasons(home: Home) -> dict[str, str]:
    with closing(connect_to_read(home)) as connection:
        return {Path(one["path"]).name: one["reason"] for one in failures.page(connection)}


def modified(home: Home) -> dict[bytes, int]:
    """The modification time of each file, as the catalog has it."""
    with closing(connect_to_read(home)) as connection:
        return dict(connection.execute("SELECT name, mtime_ns FROM files").fetchall())


def found(home: Home) -> set[str]:
    with Engine.open(home) as engine:
        return {Path(hit.path).name for hit in engine.search(Request(limit=100)).hits}


def spoil(file: Path, words: bytes) -> None:
    file.write_bytes(file.read_bytes() + words)


@pytest.mark.usefixtures("harmful")
def test_photos_that_kill_their_decoder_are_listed_and_all_others_found(home: Home, photos: Path) -> None:
    spoil(photos / "1.jpg", hostile.SEGFAULT)
    spoil(photos / "2.jpg", hostile.ENDLESS)
    spoil(photos / "4.jpg", hostile.KILLED)
    assert counts(run_index(home, [photos], STARTER)) == {"added": 3, "failed": 3, "embedded": 3}
    assert found(home) == {"0.jpg", "3.jpg", "5.jpg"}
    assert reasons(home) == {
        "1.jpg": "decoding it crashed (SIGSEGV)",
        "2.jpg": "it takes longer than 0.5 s to decode",
        "4.jpg": "the system ended its decoding, as it does where memory runs out",
    }
    # What crashed is left alone until it changes; what memory did not suffice for is tried again.
    (photos / "4.jpg").write_bytes((photos / "4.jpg").read_bytes().removesuffix(hostile.KILLED))
    written_a_moment_ago(photos / "4.jpg")
    assert counts(run_index(home)) == {"added": 1, "unchanged": 3, "failed": 2, "embedded": 1}
    again = run_index(home)
    assert counts(again) == {"unchanged": 4, "failed": 2} and "load" not in again.stages
    picture(photos / "1.jpg", 50)
    assert counts(run_index(home)) == {"added": 1, "unchanged": 4, "failed": 1, "embedded": 1}


@pytest.mark.usefixtures("harmful")
def test_what_others_may_have_done_is_tried_again_on_another_day(
    home: Home, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = date.today()
    spoil(photos / "0.jpg", hostile.TERMINATED)
    spoil(photos / "1.jpg", hostile.STILL)
    assert counts(run_index(home, [photos], STARTER)) == {"added": 4, "failed": 2, "embedded": 4}
    later = f"; it was tried on {today.isoformat()} and will be on another day"
    assert reasons(home)["0.jpg"] == "its decoding was ended from outside (SIGTERM)" + later
    assert reasons(home)["1.jpg"].startswith("its decoding stood still for ")
    assert reasons(home)["1.jpg"].endswith(later)
    again = run_index(home)
    assert counts(again) == {"unchanged": 4, "failed": 2} and "load" not in again.stages
    picture(photos / "1.jpg", 50)  # one that has changed waits for no day
    assert counts(run_index(home)) == {"added": 1, "unchanged": 4, "failed": 1, "embedded": 1}
    with monkeypatch.context() as patch:
        tomorrow = SimpleNamespace(today=lambda: today + timedelta(days=1))
        patch.setattr("indexer.retries.date", tomorrow)
        tried = run_index(home)
        assert counts(tried) == {"unchanged": 5, "failed": 1} and "load" in tried.stages
        assert "load" not in run_index(home).stages


@pytest.mark.usefixtures("harmful")
def test_what_a_limit_refused_is_tried_again_under_a_larger_one(
    home: Home, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(photos / "0.png", 0, (200, 150))
    spoil(photos / "1.jpg", hostile.ENDLESS)
    with monkeypatch.context() as patch:
        for module in ("decoding.decoders", "pixels"):
            patch.setattr(f"indexer.{module}.default_max_pixels", lambda: 25_000)
        assert counts(run_index(home, [photos], STARTER)) == {"added": 5, "failed": 2, "embedded": 5}
        assert "load" not in run_index(home).stages
    assert counts(run_index(home)) == {"added": 1, "unchanged": 5, "failed": 1, "embedded": 1}
    assert "load" not in run_index(home).stages
    monkeypatch.setenv("SIGHTLINE_DECODING_SECONDS", "0.6")
    tried = run_index(home)
    assert counts(tried) == {"unchanged": 6, "failed": 1} and "load" in tried.stages


@pytest.mark.parametrize(
    ("failure", "due"),
    [
        ("it is empty", False),
        ("decoding it crashed (SIGSEGV)", False),
        ("it takes longer than 59.9 s to decode", True),
        ("it takes longer than 60 s to decode", False),
        ("it takes longer than 600 s to decode", False),
        ("it has 40 megapixels (8000 x 5000), more than the limit of 30", True),
        ("it has 900 megapixels (30000 x 30000), more than the limit of 179", False),
        ("it has 400 megapixels (20000 x 20000), more than the limit of 399", False),
        ("it has 800 megapixels (40000 x 20000), more than the limit of 700", True),
        ("it has 801 megapixels (40050 x 20000), more than the limit of 700", False),
    ],
)
def test_a_sentence_tells_whether_another_try_is_worth_it(
    monkeypatch: pytest.MonkeyPatch, failure: str, due: bool
) -> None:
    monkeypatch.setattr("indexer.pixels.default_max_pixels", lambda: 100_000_000)
    assert is_due(failure) is due


READ_LARGE = """
import os, resource, sys
from indexer.decoding.decoders import Decoders
from indexer.pipeline import ReadAhead
from indexer.scan import FoundFile
from search.models.preprocess import Preprocess
folder, size = os.fsencode(sys.argv[1]), int(sys.argv[2])
prepare = Preprocess((32, 32), "shortest", "bicubic", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
files = [FoundFile(folder, name, size, 1) for name in sorted(os.listdir(folder))]
with Decoders.of_process(2) as decoders:
    list(ReadAhead([FoundFile(folder, b"gone.jpg", 0, 0)], prepare, decoders, known=lambda _: False, look_ahead=8))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for one in ReadAhead(files, prepare, decoders, known=lambda _: False, look_ahead=100):
        print(one.failure, one.size, one.mtime_ns)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
def test_large_files_that_are_no_photos_are_not_read(tmp_path: Path) -> None:
    for number in range(16):
        (tmp_path / f"{number:02}.jpg").touch()
        os.truncate(tmp_path / f"{number:02}.jpg", 2**30)
        os.utime(tmp_path / f"{number:02}.jpg", ns=(7, 7))
    command = [sys.executable, "-c", READ_LARGE, str(tmp_path), str(2**30)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=100)
    *said, mebibytes = done.stdout.splitlines()
    assert said == [f"it is not a picture in a known format {2**30} 7"] * 16
    assert int(mebibytes) < 64


def test_large_photos_are_read_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoders: Decoders
) -> None:
    monkeypatch.setattr("indexer.pipeline.LARGE", 1000)
    monkeypatch.setattr("indexer.files.LARGE", 1000)
    monkeypatch.setattr("indexer.files._file_room", cache(lambda: DecodingRoom(5000)))
    now, most, lock = set[bytes](), [0], threading.Lock()
    read, decoded = pipeline.whole_file, pipeline._decoded

    def reading(path: bytes) -> Any:
        with lock:
            now.add(path)
            most[0] = max(most[0], len(now))
        return read(path)

    def decoding(waiting: Any, *rest: Any) -> Any:
        try:
            return decoded(waiting, *rest)
        finally:
            with lock:
                now.difference_update(one.file.found.path for one in waiting.values())

    monkeypatch.setattr("indexer.pipeline.whole_file", reading)
    monkeypatch.setattr("indexer.pipeline._decoded", decoding)
    for number in range(24):
        file = tmp_path / f"{number:02}.jpg"
        picture(file, number)
        file.write_bytes(file.read_bytes().ljust(4000, b"\0"))
    files = [FoundFile(os.fsencode(tmp_path), f"{number:02}.jpg".encode(), 4000, 0) for number in range(24)]
    prepare = Preprocess((32, 32), "shortest", "bicubic", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    found = list(ReadAhead(files, prepare, decoders, known=lambda _: False, look_ahead=100))
    assert [one.failure for one in found] == [None] * 24 and [one.found for one in found] == files
    assert most == [1]


def test_a_file_that_is_written_while_it_is_read_is_left_to_the_next_run(
    home: Home, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_index(home, [photos], STARTER)
    before = (photos / "0.jpg").stat()
    picture(photos / "0.jpg", 70)
    (photos / "new.jpg").write_bytes(b"not yet a picture")
    fdopen = os.fdopen

    def written_meanwhile(descriptor: int, *arguments: Any, **keywords: Any) -> Any:
        with open(f"/proc/self/fd/{descriptor}", "ab") as file:
            file.write(b"more")
        return fdopen(descriptor, *arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr("indexer.read.os.fdopen", written_meanwhile)
        assert counts(run_index(home)) == {"unchanged": 5}
    assert modified(home)[b"0.jpg"] == before.st_mtime_ns and b"new.jpg" not in modified(home) and reasons(home) == {}
    assert counts(run_index(home)) == {"updated": 1, "unchanged": 5, "failed": 1, "embedded": 1}


def test_a_file_written_a_moment_before_it_is_read_is_looked_at_again(
    home: Home, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second change may have the same date: file systems know no finer one."""
    moment = 1_600_000_000 * 10**9  # a whole second, as FAT has them, within two of the reading
    file = photos / "0.jpg"

    def written(seed: int) -> None:
        picture(file, seed)
        file.write_bytes(file.read_bytes().ljust(4000, b"\0"))
        os.utime(file, ns=(moment, moment))

    written(80)
    with monkeypatch.context() as patch:
        patch.setattr("indexer.pipeline.time", SimpleNamespace(time_ns=lambda: moment + 10**9))
        assert counts(run_index(home, [photos], STARTER)) == {"added": 6, "embedded": 6}
    assert modified(home)[b"0.jpg"] == UNSETTLED and list(modified(home).values()).count(UNSETTLED) == 1
    written(81)
    assert counts(run_index(home)) == {"updated": 1, "unchanged": 5, "embedded": 1}
    assert modified(home)[b"0.jpg"] == moment
    assert "load" not in run_index(home).stages


@pytest.mark.parametrize(
    ("modified", "read", "settled"),
    [
        (1_000_000_001, 1_010_000_000, False),
        (1_000_000_001, 1_030_000_000, True),
        (1_000_000_001, 999_000_000, False),  # by a clock that is ahead of this one
        (5_000_000_001, 1_000_000_000, True),
        (1_000_000_000, 2_900_000_000, False),
        (1_000_000_000, 3_000_000_000, True),
    ],
)
def test_a_modification_time_counts_once_no_other_write_can_have_it(
    tmp_path: Path, modified: int, read: int, settled: bool
) -> None:
    (tmp_path / "a.jpg").touch()
    os.utime(tmp_path / "a.jpg", ns=(modified, modified))
    assert settled_ns((tmp_path / "a.jpg").stat(), read) == (modified if settled else UNSETTLED)
