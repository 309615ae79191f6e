"""Changes are held back until nothing is written any more."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from indexer import arrivals
from indexer.arrivals import Arrivals


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(arrivals, "time", clock)
    return clock


@pytest.fixture
def after(clock: Clock) -> Callable[[Arrivals, float], list[str] | None]:
    """What has settled after so many seconds, a look every quarter of one."""

    def wait(waiting: Arrivals, seconds: float) -> list[str] | None:
        for _ in range(round(seconds * 4)):
            clock.now += 0.25
            waiting.look()
        places = waiting.take()
        return None if places is None else [os.fsdecode(place) for place in places]

    return wait


After = Callable[[Arrivals, float], list[str] | None]


def told(waiting: Arrivals, *files: Path) -> None:
    waiting.changed(map(os.fsencode, files))


def test_a_file_that_is_being_written_is_waited_for(tmp_path: Path, after: After) -> None:
    file = tmp_path / "a.jpg"
    waiting = Arrivals()
    for size in range(1, 6):
        file.write_bytes(b"x" * size)
        if size == 1:
            told(waiting, file)  # of what follows nobody tells: it is looked at
        assert after(waiting, 0.75) == [] and not waiting.ready()
    assert after(waiting, 1.0) == [str(file)]
    assert after(waiting, 5.0) == []


def test_what_is_gone_is_judged_together(tmp_path: Path, clock: Clock, after: After) -> None:
    files = [tmp_path / f"{number}.jpg" for number in range(6)]
    waiting = Arrivals()
    for file in files:  # one a second
        told(waiting, file)
        assert after(waiting, 1.0) == []
    assert after(waiting, 1.0) == sorted(map(str, files))


def test_what_goes_on_going_is_not_waited_for_for_ever(tmp_path: Path, after: After) -> None:
    waiting = Arrivals()
    seen: list[str] = []
    for number in range(80):
        told(waiting, tmp_path / f"{number}.jpg")
        seen += after(waiting, 1.0) or []
    assert 50 <= len(seen) < 80


def test_what_goes_does_not_hold_back_what_comes(tmp_path: Path, after: After) -> None:
    new = tmp_path / "new.jpg"
    new.touch()
    waiting = Arrivals()
    told(waiting, new)
    for number in range(4):
        told(waiting, tmp_path / f"{number}.jpg")
        if number < 3:
            after_now = after(waiting, 0.25)
            assert after_now == []
    assert after(waiting, 0.25) == [str(new)]


def test_of_a_new_folder_every_photo_is_waited_for(tmp_path: Path, after: After) -> None:
    (tmp_path / "new" / "deep").mkdir(parents=True)
    for name in ("a.jpg", "deep/b.heic", "deep/notes.txt"):
        (tmp_path / "new" / name).touch()
    waiting = Arrivals()
    told(waiting, tmp_path / "new", tmp_path / "other.txt")
    (tmp_path / "other.txt").touch()
    settled = after(waiting, 1.0)
    assert settled == [str(tmp_path / "new" / "a.jpg"), str(tmp_path / "new" / "deep" / "b.heic")]


def test_other_patterns_concern_the_whole_folder(tmp_path: Path, after: After) -> None:
    waiting = Arrivals()
    (tmp_path / ".sightlineignore").touch()
    told(waiting, tmp_path / ".sightlineignore")
    assert after(waiting, 1.0) == [str(tmp_path)]


def test_a_folder_that_has_gone_is_a_place(tmp_path: Path, after: After) -> None:
    (tmp_path / "folder").mkdir()
    shutil.rmtree(tmp_path / "folder")
    waiting = Arrivals()
    told(waiting, tmp_path / "folder")
    assert after(waiting, 2.25) == [str(tmp_path / "folder")]


def test_too_many_places_are_looked_at_as_a_whole(
    tmp_path: Path, after: After, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "_MOST", 10)
    waiting = Arrivals()
    told(waiting, *(tmp_path / f"{number}.jpg" for number in range(15)))
    assert after(waiting, 3.0) is None
    waiting.put_back(None)
    assert waiting.ready() and waiting.take() is None and not waiting.ready()


def test_what_could_not_be_looked_at_is_given_again(tmp_path: Path) -> None:
    waiting = Arrivals()
    waiting.put_back([b"/a"])
    assert waiting.wait(0) and waiting.take() == [b"/a"] and not waiting.ready()


def test_a_file_that_comes_back_is_there(tmp_path: Path, clock: Clock, after: After) -> None:
    file = tmp_path / "a.jpg"
    waiting = Arrivals()
    told(waiting, file)
    assert after(waiting, 0.5) == []
    file.write_bytes(b"x")
    assert after(waiting, 0.75) == []
    assert after(waiting, 0.5) == [str(file)]
