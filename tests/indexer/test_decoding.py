"""A picture that crashes its decoder, or takes too much of time or memory, costs itself and nothing else."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hostile_tasks as hostile
import numpy as np
import psutil
import pytest
from PIL import Image
from test_hostile_pictures import FORMATS, encoded, noise, png

from indexer.decoding.answers import Answer
from indexer.decoding.channel import EXCHANGE_BYTES, BrokenMessageError, Channel, Exchange
from indexer.decoding.decoders import Decoders, measured
from indexer.decoding.pool import Pool
from indexer.decoding.settings import DecodingSettings
from indexer.pipeline import ReadAhead
from indexer.read import decode
from indexer.scan import FoundFile
from search.errors import DecodingError, PhotoError, PhotoForNowError, PhotoMemoryError, SettingsError
from search.models.preprocess import Preprocess

PREPROCESS = Preprocess((32, 32), "shortest", "bicubic", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
SOUND = encoded(noise(), "PNG")
Make = Callable[..., Decoders]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes decoders that photos can harm, and ends them."""
    monkeypatch.setenv("PYTHONPATH", str(Path(hostile.__file__).parent))
    pools: list[Pool] = []

    def made(size: int = 1, tasks: str = "hostile_tasks", shared: bool = True, **settings: Any) -> Decoders:
        pools.append(Pool(size, DecodingSettings(**settings), tasks=tasks, shared=shared))
        return Decoders(pools[-1])

    yield made
    for pool in pools:
        pool.close()
        assert pool.pids == []


def until(met: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def is_sound(decoders: Decoders) -> bool:
    return decoders.picture(SOUND).tobytes() == noise().tobytes()


def at_work(decoders: Decoders) -> bool:
    """Whether a process is at a photo, not only started."""
    processes = [worker._process for worker in list(decoders.pool._workers)]
    return any(one and one.ready and one.position not in (None, (one.asked, 0)) for one in processes)


@pytest.mark.parametrize("shared", [True, False], ids=["shared memory", "pipes"])
@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (hostile.SEGFAULT, "decoding it crashed (SIGSEGV)"),
        (hostile.ABORT, "decoding it crashed (SIGABRT)"),
        (hostile.KILLED, "the system ended its decoding, as it does where memory runs out"),
        (hostile.GREEDY, "it needs more memory than there is"),
        (hostile.LYING, None),
        (hostile.TERMINATED, "its decoding was ended from outside (SIGTERM)"),
        (hostile.ENDED, "decoding it ended early (exit status 3)"),
    ],
)
def test_what_one_photo_does_costs_no_other(make: Make, harm: bytes, sentence: str | None, shared: bool) -> None:
    decoders = make(shared=shared)
    contents = [SOUND, SOUND + harm, b"no picture", SOUND]
    with decoders.worker() as worker:
        found = measured(worker, contents, PREPROCESS)
        expected = [None, sentence, "it is not a picture in a known format", None]
        assert [str(one) if isinstance(one, PhotoError) else None for one in found] == expected
    assert is_sound(decoders)


@pytest.mark.parametrize("shared", [True, False], ids=["shared memory", "pipes"])
def test_a_process_killed_in_the_middle_of_a_real_picture_is_started_anew(make: Make, shared: bool) -> None:
    decoders = make(shared=shared)
    with ThreadPoolExecutor(1) as thread:
        large = thread.submit(decoders.picture, png(5000, 5000))
        until(lambda: at_work(decoders))
        (killed,) = decoders.pool.pids
        os.kill(killed, signal.SIGKILL)
        with pytest.raises(PhotoMemoryError, match="the system ended its decoding"):
            large.result()
    assert is_sound(decoders) and decoders.pool.pids != [killed]


@pytest.mark.parametrize("shared", [True, False], ids=["shared memory", "pipes"])
def test_a_process_that_died_while_it_had_nothing_to_do_is_nobodys_fault(make: Make, shared: bool) -> None:
    decoders = make(shared=shared)
    for _ in range(2):
        assert is_sound(decoders)
        (pid,) = decoders.pool.pids
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)  # type: ignore[misc]
    assert is_sound(decoders)


def test_a_real_picture_that_takes_too_long_is_given_up(make: Make) -> None:
    decoders = make(seconds=0.04)
    with pytest.raises(PhotoError, match=r"^it takes longer than 0.04 s to decode$"):
        decoders.picture(png(5000, 5000))
    assert is_sound(decoders)


@pytest.mark.parametrize("harm", [hostile.ENDLESS, hostile.UNREACHABLE])
def test_an_endless_one_is_given_up_and_the_others_are_read(make: Make, harm: bytes) -> None:
    decoders = make(seconds=0.2)
    with decoders.worker() as worker:
        found = measured(worker, [SOUND, SOUND + harm, SOUND], PREPROCESS)
    assert [isinstance(one, PhotoError) for one in found] == [False, True, False]
    assert str(found[1]) == "it takes longer than 0.2 s to decode"


@pytest.mark.parametrize("ended", [signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGBUS])
def test_a_signal_from_outside_costs_no_photo(make: Make, ended: signal.Signals) -> None:
    decoders = make()
    with ThreadPoolExecutor(1) as thread:
        large = thread.submit(decoders.picture, png(3000, 3000))
        until(lambda: at_work(decoders))
        (before,) = decoders.pool.pids
        os.kill(before, ended)
        assert large.result().size == (3000, 3000)
    assert decoders.pool.pids != [before]


def test_a_process_that_was_stopped_costs_no_photo(make: Make) -> None:
    decoders = make(seconds=0.5)
    with ThreadPoolExecutor(1) as thread:
        large = thread.submit(decoders.picture, png(3000, 3000))
        until(lambda: at_work(decoders))
        (before,) = decoders.pool.pids
        os.kill(before, signal.SIGSTOP)
        assert large.result().size == (3000, 3000)
    assert decoders.pool.pids != [before]


@pytest.mark.parametrize("harm", [hostile.STILL, hostile.TERMINATED, hostile.ENDED])
def test_what_others_may_have_done_is_tried_twice_and_left_to_another_day(make: Make, harm: bytes) -> None:
    decoders = make(seconds=0.1)
    with decoders.worker() as worker:
        found = measured(worker, [SOUND, SOUND + harm, SOUND], PREPROCESS)
    assert [type(one) is PhotoForNowError for one in found] == [False, True, False]


def test_a_photo_may_take_longer_by_the_clock_on_a_busy_machine(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    decoders = make(seconds=1000)
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(decoders.picture, SOUND + hostile.STILL)
        until(lambda: at_work(decoders))
        (worker,) = decoders.pool._workers
        process = worker._process
        assert process is not None
        worked = iter([0.0, 300.0, 600.0, 999.0, 1000.0])  # by a third of a processor
        monkeypatch.setattr(process, "processor_seconds", lambda: next(worked))
        for _ in range(4):
            worker.watch(1000)
            assert process._killed is None
        worker.watch(1)
        with pytest.raises(PhotoError, match=r"^it takes longer than 1000 s to decode$"):
            asked.result()


def test_a_decoder_that_cannot_be_loaded_is_no_photos_fault(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    content = encoded(noise(), "AVIF").replace(b"ftypavif", b"ftypheic", 1)
    with pytest.raises(PhotoForNowError, match="pillow_heif"):
        decode(content)


def test_time_counts_for_each_photo_anew_though_their_processes_died_at_the_same_place(make: Make) -> None:
    decoders = make(seconds=1000)
    with ThreadPoolExecutor(1) as thread:
        for _ in range(3):
            asked = thread.submit(decoders.picture, SOUND + hostile.ENDLESS)
            until(lambda: at_work(decoders))
            (worker,) = decoders.pool._workers
            for _ in range(3):  # of which the first sees it for the first time
                worker.watch(450)
            (pid,) = decoders.pool.pids
            os.kill(pid, signal.SIGSEGV)
            with pytest.raises(PhotoError, match="SIGSEGV"):
                asked.result()


def test_a_real_picture_that_takes_too_much_memory_is_given_up(make: Make) -> None:
    decoders = make(memory=64)
    large = png(6000, 6000)
    with pytest.raises(PhotoMemoryError, match=r"^it needs more memory than there is$"):
        decoders.picture(large)
    assert is_sound(decoders)


def test_memory_that_no_limit_of_the_system_holds_up_is_watched(make: Make) -> None:
    decoders = make(memory=64, seconds=1)
    with pytest.raises(PhotoMemoryError, match="needs more memory"):
        decoders.picture(SOUND + hostile.SHARED_GREED)
    assert is_sound(decoders)


def test_a_photo_for_which_earlier_ones_left_too_little_memory_gets_a_new_process(make: Make) -> None:
    decoders = make()
    first = decoders.picture(SOUND + hostile.CRAMPED)
    before = decoders.pool.pids
    assert decoders.picture(SOUND + hostile.CRAMPED) == first
    assert decoders.pool.pids != before


@pytest.mark.parametrize("shared", [True, False], ids=["shared memory", "pipes"])
def test_a_photo_that_dies_of_what_an_earlier_one_has_done_is_read_in_a_new_process(make: Make, shared: bool) -> None:
    decoders = make(shared=shared)
    with decoders.worker() as worker:
        fragile = encoded(noise((60, 40)), "PNG") + hostile.FRAGILE
        found = measured(worker, [SOUND, fragile, SOUND + hostile.SEGFAULT, fragile, SOUND], PREPROCESS)
        assert str(found.pop(2)) == "decoding it crashed (SIGSEGV)"
        (alone,) = measured(worker, [fragile], PREPROCESS)
        assert not isinstance(alone, PhotoError)
        sizes = [one.full_size for one in found if not isinstance(one, PhotoError)]
        assert sizes == [(120, 90), (60, 40), (60, 40), (120, 90)]


def test_an_answer_that_cannot_be_is_a_crash(make: Make) -> None:
    decoders = make()
    with pytest.raises(PhotoError, match="answered nonsense"):
        decoders.picture(SOUND + hostile.LYING)
    assert is_sound(decoders)


@pytest.mark.parametrize("shared", [True, False], ids=["shared memory", "pipes"])
@pytest.mark.parametrize("format", FORMATS)
def test_pixels_are_those_of_decoding_in_this_process(make: Make, format: str, shared: bool) -> None:
    decoders = make(shared=shared)
    content = encoded(noise((200, 150)), format)
    for draft in (None, (50, 50)):
        here, there = decode(content, draft=draft).image, decoders.picture(content, draft=draft)
        assert (there.mode, there.size, there.tobytes()) == ("RGB", here.size, here.tobytes())
    with decoders.worker() as worker:
        (found,) = measured(worker, [content], PREPROCESS)
        assert not isinstance(found, PhotoError)
        whole = decode(content, draft=PREPROCESS.draft_size)
        pixels = found.pixels if found.ready else PREPROCESS(found.pixels, found.full_size)
        assert np.array_equal(pixels, PREPROCESS(whole.image, (whole.width, whole.height)))


@pytest.mark.parametrize("size", [(32, 32), (64, 48), (700, 40)])
def test_pixels_stay_when_their_memory_is_used_again(make: Make, tmp_path: Path, size: tuple[int, int]) -> None:
    decoders = make()
    found = []
    for number in range(20):  # two batches and a half, of pictures that are at the model's size already, or are not
        Image.new("RGB", size, (number, 2 * number, 3 * number)).save(tmp_path / f"{number}.png")
        found.append(FoundFile(os.fsencode(tmp_path), f"{number}.png".encode(), 0, 0))
    read = list(ReadAhead(found, PREPROCESS, decoders, known=lambda _: False, look_ahead=100))
    assert [one.pixels.tolist()[0][0] for one in read if one.pixels is not None] == [
        [number, 2 * number, 3 * number] for number in range(20)
    ]


def test_what_does_not_fit_into_shared_memory_comes_all_the_same(make: Make) -> None:
    decoders = make(tasks="indexer.decoding.tasks")
    side = 4800
    assert 3 * side * side > EXCHANGE_BYTES
    content = png(side, side)
    image = decoders.picture(content + bytes(EXCHANGE_BYTES))
    assert image.size == (side, side) and image.getextrema() == ((0, 0),) * 3


def test_large_pictures_take_turns(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.decoding.pool.default_max_pixels", lambda: 8000)  # so that all of these are large
    decoders = make(2)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(decoders.picture, [SOUND, SOUND + hostile.SEGFAULT[:-1], SOUND, SOUND] * 2))
    assert all(image.tobytes() == noise().tobytes() for image in found)
    with pytest.raises(PhotoError, match="SIGSEGV"):
        decoders.picture(SOUND + hostile.SEGFAULT)
    assert is_sound(decoders)


def test_the_wait_for_a_turn_takes_nothing_of_a_pictures_time(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.decoding.pool.default_max_pixels", lambda: 8000)
    decoders = make(2, seconds=0.3)
    room = decoders.pool.room
    with ThreadPoolExecutor(1) as thread:
        with room.taken(8000):
            waiting = thread.submit(decoders.picture, SOUND)
            until(lambda: any(one._process and one._process.waits for one in list(decoders.pool._workers)))
            time.sleep(0.6)
        assert waiting.result().tobytes() == noise().tobytes()


def test_a_process_imports_only_what_decoding_takes(make: Make) -> None:
    decoders = make()
    decoders.picture(encoded(noise(), "HEIF"))
    with decoders.worker() as worker:
        (found,) = worker.ask("modules", [b""], {})
    assert isinstance(found, Answer)
    imported = set(found.fields["modules"])
    assert {"PIL", "pillow_heif"} <= imported
    assert not {"torch", "open_clip", "faiss", "sqlite3", "transformers", "fastapi", "psutil"} & imported


def test_interrupts_are_for_whoever_started_it(make: Make) -> None:
    decoders = make()
    assert is_sound(decoders)
    before = decoders.pool.pids
    os.kill(before[0], signal.SIGINT)
    assert is_sound(decoders) and decoders.pool.pids == before
    assert os.getsid(before[0]) != os.getsid(0)


PARENT = """
import sys, threading, time
from indexer.decoding.decoders import Decoders
from indexer.decoding.pool import Pool
from indexer.decoding.settings import DecodingSettings
from pathlib import Path
# Without `if __name__ == "__main__"`, which nobody should need.
decoders = Decoders(Pool(2, DecodingSettings(), tasks="hostile_tasks"))
content = Path(sys.argv[1]).read_bytes()
decoders.picture(content)
decoders.pool.start(2)
threading.Thread(target=decoders.picture, args=(content + b"<endless>",), daemon=True).start()
with decoders.worker() as worker:
    worker.ask("modules", [b""], {})
while not all(worker._process and worker._process.ready for worker in decoders.pool._workers):
    time.sleep(0.005)
print(*decoders.pool.pids, flush=True)
sys.stdin.read()
"""


STOPPED = pytest.param(
    "killed while they are stopped", marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux wakes them")
)


@pytest.mark.parametrize("end", ["killed", "closed", STOPPED])
def test_processes_never_outlive_whoever_started_them(tmp_path: Path, end: str) -> None:
    (tmp_path / "sound.png").write_bytes(SOUND)
    root = Path(__file__).parents[2]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "sound.png")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(Path(hostile.__file__).parent)},
    )
    with parent:
        assert parent.stdout is not None and parent.stdin is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2 and all(psutil.pid_exists(pid) for pid in pids)
        if end == "closed":
            parent.stdin.close()
        else:
            for pid in pids if "stopped" in end else ():
                os.kill(pid, signal.SIGSTOP)
            parent.kill()
    try:
        until(lambda: not any(map(psutil.pid_exists, pids)))
    finally:
        for pid in filter(psutil.pid_exists, pids):
            os.kill(pid, signal.SIGKILL)


def test_an_alarm_ends_what_no_thread_can() -> None:
    code = 'import re, sys; from indexer.decoding import child; child._alarm(0.2)\nre.match(r"(a+)+$", "a" * 60 + "b")'
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], timeout=60)
    assert done.returncode == -signal.SIGALRM


def test_workers_that_have_nothing_to_do_end_and_others_start(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.decoding.pool._IDLE_SECONDS", 0.05)
    decoders = make(seconds=0.4)
    for _ in range(2):
        assert is_sound(decoders)
        until(lambda: decoders.pool.pids == [])
    assert decoders.pool.seconds > 0


def test_closing_ends_what_is_at_work_for_this_user_alone(make: Make) -> None:
    decoders = make(2)
    others = Decoders(decoders.pool)
    with ThreadPoolExecutor(1) as thread:
        endless = thread.submit(decoders.picture, SOUND + hostile.ENDLESS)
        until(lambda: at_work(decoders))
        decoders.close()
        with pytest.raises(DecodingError):
            endless.result()
    with pytest.raises(DecodingError):
        decoders.picture(SOUND)
    assert is_sound(others)


def test_a_process_closed_as_it_answers_is_ended_all_the_same(make: Make) -> None:
    decoders = make(1)
    with decoders.worker() as worker:
        process = worker._ready()
        with process.working():
            decoders.close()
    assert worker.pid is None and not psutil.pid_exists(process.pid)


def test_a_reader_that_is_closed_waits_for_no_photo(make: Make, tmp_path: Path) -> None:
    decoders = make(2, seconds=20)
    for number in range(40):
        (tmp_path / f"{number:02}.png").write_bytes(SOUND + (hostile.ENDLESS if number >= 8 else b""))
    files = [FoundFile(os.fsencode(tmp_path), f"{number:02}.png".encode(), 0, 0) for number in range(40)]
    reader = ReadAhead(files, PREPROCESS, decoders, known=lambda _: False, look_ahead=100)
    read = iter(reader)
    assert next(read).failure is None
    until(lambda: at_work(decoders))
    began = time.monotonic()
    reader.close()
    assert time.monotonic() - began < 5
    assert is_sound(decoders)


def test_whoever_waits_for_a_worker_of_a_closed_pool_is_told(make: Make) -> None:
    decoders = make(1)
    told: list[DecodingError] = []

    def ask() -> None:
        try:
            decoders.picture(SOUND + hostile.ENDLESS)
        except DecodingError as error:
            told.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: at_work(decoders))
    decoders.pool.close()
    for thread in threads:
        thread.join()
    assert len(told) == 3


def test_processes_that_cannot_start_are_no_photos_fault(make: Make) -> None:
    with pytest.raises(DecodingError, match=r"does not start: ModuleNotFoundError: .*no_such_tasks"):
        make(tasks="no_such_tasks").picture(SOUND)


def test_a_watcher_that_cannot_start_is_said_so_and_tried_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    decoders = make(seconds=0.2)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        with pytest.raises(DecodingError, match=r"can't start new thread"):
            decoders.picture(SOUND)
    with pytest.raises(PhotoError, match=r"takes longer than 0\.2 s"):
        decoders.picture(SOUND + hostile.ENDLESS)


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no such memory here")
@pytest.mark.parametrize("fails", ["os.ftruncate", "mmap.mmap"])
def test_shared_memory_that_cannot_be_had_is_done_without(
    make: Make, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    before = psutil.Process().num_fds()
    monkeypatch.setattr(fails, refused)
    assert Exchange.create() is None and psutil.Process().num_fds() == before
    assert is_sound(make())


def test_no_process_is_started_before_there_is_a_photo(make: Make) -> None:
    decoders = make(4)
    assert decoders.pool.pids == []
    for _ in range(3):
        decoders.picture(SOUND)
    assert len(decoders.pool.pids) == 1


def message(text: bytes, rest: bytes = b"") -> bytes:
    return len(text).to_bytes(4, "little") + text + rest


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x05",
        b"\xff\xff\xff\xff{}",
        message(b"{}"),
        message(b"[]"),
        message(b"no JSON"),
        message(b'{"buffers": 3}'),
        message(b'{"buffers": [[0, 5]]}', b"four"),
        message(b'{"buffers": [[0, -1]]}'),
        message(b'{"buffers": [[0, 99999999999999]]}'),
        message(b'{"buffers": [[64, 5]]}'),
        message(b'{"buffers": [["x"]]}'),
        message(b"[" * 100_000),
        message(b'{"buffers": [[1e999, 5]]}'),
    ],
)
def test_no_length_and_no_document_is_believed(data: bytes) -> None:
    with pytest.raises(BrokenMessageError):
        Channel(io.BytesIO(data), io.BytesIO(), None).receive()


def test_limits_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert DecodingSettings.read().seconds == 60
    assert DecodingSettings.read().memory_bytes > 2**30 + 32 * 50_000_000
    monkeypatch.setenv("SIGHTLINE_DECODING_SECONDS", "2.5")
    monkeypatch.setenv("SIGHTLINE_DECODING_MEMORY", "512")
    settings = DecodingSettings.read()
    assert (settings.seconds, settings.memory_bytes) == (2.5, 2**29)


@pytest.mark.parametrize(
    ("variable", "value"), [("SECONDS", "1e12"), ("SECONDS", "0"), ("MEMORY", "100000000000000"), ("MEMORY", "63")]
)
def test_limits_that_no_system_takes_are_refused(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(f"SIGHTLINE_DECODING_{variable}", value)
    with pytest.raises(SettingsError, match=rf"^SIGHTLINE_DECODING_{variable} cannot be “{value}”: it should be "):
        DecodingSettings.read()


def test_the_largest_limits_are_taken_by_the_system(make: Make) -> None:
    assert is_sound(make(seconds=86_400, memory=2**30))
