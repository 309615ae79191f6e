"""Folders are followed: what happens in them is in the index within seconds."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from support import picture

from indexer import arrivals, listening, schedule, watch
from indexer.lock import writer_lock
from indexer.progress import Silent
from indexer.report import IndexOptions, IndexReport
from indexer.run import run_index
from indexer.schedule import Schedule
from indexer.watch import Follower
from search.catalog import jobs
from search.catalog.connection import connect_to_read
from search.home import Home

FINDABLE = 5.0
"""Seconds after its last write in which a photo is to be found."""
OPTIONS = IndexOptions(model="starter", captions="off")


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a library `photos` of twenty photos and its `home`."""
    folder = tmp_path_factory.mktemp("watch")
    (folder / "photos").mkdir()
    for number in range(20):
        picture(folder / "photos" / f"{number}.jpg", number)
    run_index(Home(folder / "home"), [folder / "photos"], OPTIONS)
    return folder


@pytest.fixture
def home(indexed: Path) -> Home:
    return Home(indexed / "home")


@pytest.fixture
def photos(indexed: Path) -> Iterator[Path]:
    """The library, put in order again afterwards."""
    aside = indexed / "as it was"
    shutil.copytree(indexed / "photos", aside)
    yield indexed / "photos"
    shutil.rmtree(indexed / "photos", ignore_errors=True)
    aside.rename(indexed / "photos")


class Heard(Silent):
    """What a follower said and did."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.reports: list[IndexReport] = []

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def wait_for(self, condition: Callable[[], Any], seconds: float = 30) -> float:
        """Wait until it holds; returns how long that took."""
        began = time.monotonic()
        while not condition():
            assert time.monotonic() - began < seconds, (self.sentences, self.reports[-3:])
            time.sleep(0.02)
        return time.monotonic() - began


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is small is written at once: tests need not wait as long as people."""
    monkeypatch.setattr(arrivals, "SETTLED", 0.3)
    monkeypatch.setattr(arrivals, "GONE", 0.6)
    monkeypatch.setattr(watch, "_PATIENCE", 0.5)


@contextmanager
def following(home: Home, **wanted: Any) -> Iterator[Heard]:
    """A follower at work, which has looked through everything once."""
    heard = Heard()
    follower = Follower(home, OPTIONS, heard, reported=heard.reports.append, **wanted)
    thread = threading.Thread(target=follower.run)
    thread.start()
    try:
        heard.wait_for(lambda: heard.reports)
        yield heard
    finally:
        follower.stop()
        thread.join(30)
        assert not thread.is_alive()


def known(home: Home, path: Path) -> bool:
    folder, name = os.path.split(os.fsencode(path))
    with closing(connect_to_read(home)) as connection:
        row = connection.execute("SELECT photo_key FROM files WHERE folder = ? AND name = ?", (folder, name)).fetchone()
    return row is not None and row[0] is not None


@pytest.mark.parametrize("poll", [False, True])
def test_what_happens_in_the_folders_is_in_the_index_within_seconds(
    home: Home, photos: Path, monkeypatch: pytest.MonkeyPatch, poll: bool
) -> None:
    monkeypatch.setattr(listening, "POLL_SECONDS", 0.5)
    if poll:
        monkeypatch.setattr(arrivals, "SETTLED", 0.7)
        monkeypatch.setattr(arrivals, "GONE", 0.8)
    with following(home, poll=poll) as heard:
        seen = len(heard.reports)

        def soon(path: Path, there: bool = True) -> None:
            heard.wait_for(lambda: known(home, path) is there, FINDABLE)

        picture(photos / "new.jpg", 100)
        soon(photos / "new.jpg")
        with open(photos / "new.jpg", "rb") as file:
            content = file.read()
        with open(photos / "slow.jpg", "wb") as file:  # half of it, and the rest later
            file.write(content[:500])
            file.flush()
            time.sleep(0.6)
            file.write(content[500:] + b"x")
        soon(photos / "slow.jpg")
        (photos / "new.jpg").rename(photos / "renamed.jpg")
        soon(photos / "renamed.jpg")
        (photos / "inner").mkdir()
        (photos / "renamed.jpg").rename(photos / "inner" / "moved.jpg")
        soon(photos / "inner" / "moved.jpg")
        (photos / "slow.jpg").unlink()
        soon(photos / "slow.jpg", there=False)
        (photos / "notes.txt").write_text("no photo")
        for number in range(3):
            picture(photos / "inner" / f"{number}.jpg", 110 + number)
        soon(photos / "inner" / "2.jpg")
        shutil.rmtree(photos / "inner")  # four of 24, each of which is told, and the folder as well
        soon(photos / "inner" / "moved.jpg", there=False)
    totals = {
        name: sum(getattr(report, name) for report in heard.reports[seen:])
        for name in ("added", "moved", "removed", "failed", "missing")
    }
    assert totals == {"added": 5, "moved": 2, "removed": 5, "failed": 0, "missing": 0}
    with closing(connect_to_read(home)) as connection:
        causes = [job["cause"] for job in jobs.recent(home, connection, 4)]
    assert causes == ["watch"] * 4


@pytest.mark.usefixtures("hasty")
def test_links_are_followed_by_whatever_name_changes_are_told(home: Home, photos: Path) -> None:
    (photos / "real").mkdir()
    (photos / "another").symlink_to(photos / "real")
    (photos / "link.jpg").symlink_to(photos / "0.jpg")
    with following(home) as heard:
        heard.wait_for(lambda: known(home, photos / "link.jpg"))
        picture(photos / "real" / "new.jpg", 120)
        heard.wait_for(lambda: known(home, photos / "real" / "new.jpg"), FINDABLE)
        (photos / "real" / "new.jpg").unlink()
        heard.wait_for(lambda: not known(home, photos / "real" / "new.jpg"), FINDABLE)
        (photos / "0.jpg").unlink()  # nobody tells of the link to it
        heard.wait_for(lambda: not known(home, photos / "link.jpg"), FINDABLE)
    assert not any(report.missing for report in heard.reports)


@pytest.mark.usefixtures("hasty")
def test_a_library_that_is_emptied_or_goes_is_away_and_comes_back(home: Home, photos: Path) -> None:
    def away() -> str | None:
        with closing(connect_to_read(home)) as connection:
            offline: str | None = connection.execute("SELECT offline FROM libraries").fetchone()[0]
            assert connection.execute("SELECT count(*) FROM photos WHERE orphaned_at IS NULL").fetchone()[0] == 20
        return offline

    with following(home) as heard:
        for file in photos.iterdir():
            file.rename(photos.parent / "as it was" / file.name)  # in as many steps as there are photos
        heard.wait_for(lambda: "holds no photo any more" in (away() or ""))
        for file in (photos.parent / "as it was").iterdir():
            shutil.copy2(file, photos)
        heard.wait_for(lambda: away() is None)
        photos.rename(photos.with_name("elsewhere"))
        heard.wait_for(lambda: "is not there" in (away() or ""))
        photos.with_name("elsewhere").rename(photos)
        heard.wait_for(lambda: away() is None)
    assert sum(report.removed + report.embedded for report in heard.reports) == 0


@pytest.mark.usefixtures("hasty")
def test_a_name_that_is_no_text_is_found_all_the_same(home: Home, photos: Path) -> None:
    with following(home) as heard:
        odd = os.fsencode(photos) + b"/\xff\xfe.jpg"
        picture(odd, 200)
        heard.wait_for(lambda: known(home, Path(os.fsdecode(odd))), FINDABLE + 5)
        picture(photos / "after.jpg", 201)
        heard.wait_for(lambda: known(home, photos / "after.jpg"), FINDABLE + 5)


@pytest.mark.usefixtures("hasty")
def test_where_the_system_cannot_tell_the_folders_are_asked(
    home: Home, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import watchfiles

    tell = watchfiles.watch

    def limited(*paths: str, force_polling: bool, **wanted: Any) -> Any:
        if not force_polling:
            raise OSError('OS file watch limit reached. about ["/photos"]')
        return tell(*paths, force_polling=force_polling, **wanted)

    monkeypatch.setattr(watchfiles, "watch", limited)
    monkeypatch.setattr(listening, "POLL_SECONDS", 0.5)
    with following(home) as heard:
        heard.wait_for(lambda: any("fs.inotify.max_user_watches" in sentence for sentence in heard.sentences))
        picture(photos / "new.jpg", 300)
        heard.wait_for(lambda: known(home, photos / "new.jpg"), FINDABLE + 5)


@pytest.mark.usefixtures("hasty")
def test_a_run_of_somebody_else_is_waited_for(home: Home, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_LOCKED", 0.2)
    with following(home) as heard:
        with writer_lock(home):
            picture(photos / "new.jpg", 400)
            time.sleep(1.0)
            assert not known(home, photos / "new.jpg")
        heard.wait_for(lambda: known(home, photos / "new.jpg"), FINDABLE)


@pytest.mark.usefixtures("hasty")
def test_another_library_is_followed_from_then_on(home: Home, photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    picture(other / "first.jpg", 500)
    with following(home) as heard:
        run_index(home, [other], OPTIONS)
        time.sleep(2.0)  # longer than between two looks for new libraries
        picture(other / "second.jpg", 501)
        heard.wait_for(lambda: known(home, other / "second.jpg"), FINDABLE + 5)
    shutil.rmtree(other)
    run_index(home, [other], IndexOptions(confirm_removals=True))


@pytest.mark.usefixtures("hasty")
def test_a_long_run_makes_way_for_what_has_just_arrived(
    home: Home, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from indexer.describe.starter import StarterCaptioner

    write = StarterCaptioner.caption

    def slowly(self: StarterCaptioner, images: list[Any]) -> Any:
        time.sleep(1.5)
        return write(self, images)

    monkeypatch.setattr(StarterCaptioner, "caption", slowly)
    monkeypatch.setattr(StarterCaptioner, "batch_size", 2)
    monkeypatch.setattr(watch, "_LEAST", 0.0)
    heard = Heard()
    follower = Follower(home, IndexOptions(captions="starter"), heard, reported=heard.reports.append)
    thread = threading.Thread(target=follower.run)
    thread.start()
    try:
        heard.wait_for(lambda: captions(home))  # of some 30 s
        picture(photos / "urgent.jpg", 600)
        heard.wait_for(lambda: known(home, photos / "urgent.jpg"), FINDABLE + 1.5)
        assert heard.reports[0].preempted and captions(home) < 20
        monkeypatch.setattr(StarterCaptioner, "caption", write)
        heard.wait_for(lambda: captions(home) == 21)  # and goes on where it was
    finally:
        follower.stop()
        thread.join(30)
    assert sum(report.captioned for report in heard.reports) == 21


@pytest.mark.usefixtures("hasty")
def test_what_others_change_of_the_home_stays(home: Home, photos: Path, tiny_checkpoint: Callable[..., str]) -> None:
    """Although the follower was started with options of its own."""
    with following(home) as heard:
        run_index(home, [], IndexOptions(model=tiny_checkpoint(), captions="off"))
        picture(photos / "new.jpg", 700)
        heard.wait_for(lambda: known(home, photos / "new.jpg"))
        heard.wait_for(lambda: heard.reports[-1].added)
        assert heard.reports[-1].model == tiny_checkpoint()
    run_index(home, [], OPTIONS)


def captions(home: Home) -> int:
    with closing(connect_to_read(home)) as connection:
        return int(connection.execute("SELECT count(*) FROM captions").fetchone()[0])


def test_everything_is_looked_through_in_time_and_after_a_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        own = 1000.0
        wall = 5000.0

        def monotonic(self) -> float:
            return self.own

        def time(self) -> float:
            return self.wall

    clock = Clock()
    monkeypatch.setattr(schedule, "time", clock)

    def passes(seconds: float, asleep: float = 0) -> bool:
        clock.own += seconds
        clock.wall += seconds + asleep
        return due.is_due()

    due = Schedule(3600)
    assert due.is_due()
    due.done()
    assert not due.is_due() and due.seconds_left() == 3600
    assert not passes(3599) and passes(1)
    due.done()
    assert not passes(10, asleep=30) and passes(10, asleep=7200)
    due.done()
    assert not passes(10, asleep=-86_400)  # the clock was set back
    due.bring_forward(60)
    assert not passes(59) and passes(1)
