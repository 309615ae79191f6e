"""Stages of describing: they go on, they pass over what they cannot do, and they end where nothing can be done."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlite_utils import Database
from support import picture

from indexer.decoding.decoders import Decoders
from indexer.describe.captioner import CaptionError, CaptionerUnavailableError
from indexer.describe.stage import read_pictures, run_stage
from indexer.describe.work import Outcome, Work
from indexer.files import held_file
from indexer.report import IndexOptions
from indexer.run import run_index
from indexer.scan import modified_ns
from search.catalog import descriptions, failures, settings, words
from search.catalog.connection import connect_to_write
from search.catalog.descriptions import IndexedFile, PendingPhoto
from search.errors import SightlineError
from search.home import Home

pytestmark = pytest.mark.usefixtures("loaded_once")

PHOTOS = 9
Run = Callable[[Database, Work], tuple[Outcome, list[tuple[int, int]]]]


@pytest.fixture
def catalog(home: Home, tmp_path: Path) -> Iterator[Database]:
    """A library of a few photos, indexed without captions."""
    (tmp_path / "library").mkdir()
    for seed in range(PHOTOS):
        picture(tmp_path / "library" / f"{seed}.jpg", seed, size=(60 + seed, 48))
    run_index(home, [tmp_path / "library"], IndexOptions(model="starter", captions="off"))
    connection = connect_to_write(home)
    yield Database(connection, recursive_triggers=False)
    connection.close()


def work(describe: Callable[[list[Image.Image]], Sequence[Any]], author: str = "measurer") -> Work:
    return Work(
        "captions", author, describe, lambda c, key, text: descriptions.put_caption(c, key, author, text), 32, 4
    )


def widths(images: list[Image.Image]) -> list[str]:
    return [f"width {image.width}" for image in images]


@pytest.fixture
def run(decoders: Decoders) -> Run:
    """Goes through a stage; gives the outcome, and how many photos were done and had failed whenever that was told."""

    def go(catalog: Database, task: Work) -> tuple[Outcome, list[tuple[int, int]]]:
        heard: list[tuple[int, int]] = []
        photos = descriptions.pending(catalog.conn, task.stage, task.author)
        outcome = Outcome()
        run_stage(
            catalog, task, photos, outcome, decoders=decoders, advance=lambda done, failed: heard.append((done, failed))
        )
        return outcome, heard

    return go


def captions(catalog: Database) -> list[str]:
    return [row[0] for row in catalog.conn.execute("SELECT text FROM captions ORDER BY photo_key")]


def test_every_photo_is_described_once_and_found_by_it(catalog: Database, run: Run) -> None:
    outcome, heard = run(catalog, work(widths))
    assert outcome == Outcome(described=PHOTOS) and heard == [(4, 0), (8, 0), (9, 0)]
    assert sorted(captions(catalog)) == sorted(f"width {60 + seed}" for seed in range(PHOTOS))
    assert len(words.ranked(catalog.conn, words.phrase("width 63"), "TRUE", ())) == 1
    assert descriptions.pending(catalog.conn, "captions", "measurer") == []


def test_another_author_begins_anew_and_replaces_what_stood_there(catalog: Database, run: Run) -> None:
    run(catalog, work(widths))
    outcome, _ = run(catalog, work(lambda images: ["seen"] * len(images), author="other"))
    assert outcome.described == PHOTOS and set(captions(catalog)) == {"seen"}


def test_photo_that_fails_is_marked_and_stops_no_other_nor_a_later_run(catalog: Database, run: Run) -> None:
    def describe(images: list[Image.Image]) -> list[Any]:
        fault = RuntimeError("CUDA error: an illegal memory access\nmore lines")
        return [fault if image.width == 64 else f"width {image.width}" for image in images]

    outcome, _ = run(catalog, work(describe))
    assert outcome == Outcome(described=PHOTOS - 1, failed=1) and "width 64" not in captions(catalog)
    rows = catalog.conn.execute("SELECT failure FROM descriptions WHERE failure IS NOT NULL").fetchall()
    assert rows == [("CUDA error: an illegal memory access",)]
    assert descriptions.pending(catalog.conn, "captions", "measurer") == []
    settings.put(catalog.conn, "captions", "measurer")
    descriptions.seen_by(catalog.conn, "captions", "measurer")
    assert descriptions.progress(catalog.conn, "captions") == {"described": PHOTOS - 1, "failed": 1, "waiting": 0}
    assert [Path(one["path"]).name for one in failures.page(catalog.conn)] == ["4.jpg"]


def test_how_photos_look_is_filled_in_where_an_earlier_version_indexed_them(catalog: Database, run: Run) -> None:
    looks = "SELECT key, preview, perceptual_hash FROM photos ORDER BY key"
    before = catalog.conn.execute(looks).fetchall()
    catalog.conn.execute("UPDATE photos SET preview = NULL, perceptual_hash = NULL WHERE key <= 5")
    catalog.conn.commit()
    revision = settings.revision(catalog.conn)
    run(catalog, work(widths))
    assert catalog.conn.execute(looks).fetchall() == before
    assert settings.revision(catalog.conn) > revision


def test_error_that_concerns_all_ends_the_stage_and_keeps_what_was_done(catalog: Database, run: Run) -> None:
    calls = 0

    def describe(images: list[Image.Image]) -> list[str]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise SightlineError("The endpoint is down.")
        return widths(images)

    with pytest.raises(SightlineError, match="endpoint is down"):
        run(catalog, work(describe))
    assert len(captions(catalog)) == 4
    outcome, _ = run(catalog, work(widths))
    assert outcome.described == PHOTOS - 4 and len(captions(catalog)) == PHOTOS


@pytest.mark.parametrize("end", [CaptionerUnavailableError("The credit is used up."), KeyboardInterrupt()])
def test_what_was_described_before_the_end_of_a_batch_is_kept(catalog: Database, end: BaseException, run: Run) -> None:
    with pytest.raises(type(end)):
        run(catalog, work(lambda images: [*widths(images[:2]), *[end] * (len(images) - 2)]))
    assert len(captions(catalog)) == 2
    assert len(descriptions.pending(catalog.conn, "captions", "measurer")) == PHOTOS - 2


def test_describer_that_fails_on_the_first_photos_alike_marks_none(catalog: Database, run: Run) -> None:
    def describe(images: list[Image.Image]) -> list[Exception]:
        return [CaptionError("the model knows no pictures")] * len(images)

    with pytest.raises(SightlineError, match=r"not one of the first 8 photos \(the model knows no pictures\)"):
        run(catalog, work(describe))
    assert len(descriptions.pending(catalog.conn, "captions", "measurer")) == PHOTOS
    assert failures.page(catalog.conn) == []


def test_first_photos_that_fail_are_marked_once_another_is_described(catalog: Database, run: Run) -> None:
    def describe(images: list[Image.Image]) -> list[Any]:
        return [CaptionError("odd") if image.width < 66 else "seen" for image in images]

    assert run(catalog, work(describe))[0] == Outcome(described=3, failed=6)


def test_photo_whose_file_is_away_or_changed_waits(catalog: Database, tmp_path: Path, run: Run) -> None:
    (tmp_path / "library" / "0.jpg").rename(tmp_path / "away.jpg")
    picture(tmp_path / "library" / "1.jpg", 77)
    outcome, _ = run(catalog, work(widths))
    assert outcome == Outcome(described=PHOTOS - 2, waiting=2)
    assert len(descriptions.pending(catalog.conn, "captions", "measurer")) == 2
    os.rename(tmp_path / "away.jpg", tmp_path / "library" / "0.jpg")
    assert run(catalog, work(widths))[0] == Outcome(described=1, waiting=1)


def test_photo_that_can_no_more_be_decoded_is_marked(catalog: Database, tmp_path: Path, run: Run) -> None:
    """Its bytes rot while its size and date stay."""
    file = tmp_path / "library" / "0.jpg"
    status = file.stat()
    file.write_bytes(file.read_bytes()[:200] + bytes(status.st_size - 200))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert run(catalog, work(widths))[0] == Outcome(described=PHOTOS - 1, failed=1)
    (failure,) = catalog.conn.execute("SELECT failure FROM descriptions WHERE failure IS NOT NULL").fetchone()
    assert failure


def test_photo_without_a_file_is_neither_described_nor_counted(catalog: Database, tmp_path: Path, run: Run) -> None:
    settings.put(catalog.conn, "captions", "measurer")
    descriptions.seen_by(catalog.conn, "captions", "measurer")
    run(catalog, work(lambda images: [RuntimeError("odd") if one.width == 60 else "seen" for one in images]))
    catalog.conn.commit()
    for seed in (0, 1):
        (tmp_path / "library" / f"{seed}.jpg").unlink()
    run_index(Home(tmp_path / "home"), [tmp_path / "library"], IndexOptions(captions="off", confirm_removals=True))
    settings.put(catalog.conn, "captions", "measurer")
    descriptions.seen_by(catalog.conn, "captions", "measurer")
    assert descriptions.progress(catalog.conn, "captions") == {"described": PHOTOS - 2, "failed": 0, "waiting": 0}
    assert descriptions.pending(catalog.conn, "captions", "other")[PHOTOS - 2 :] == []


def test_failures_are_counted_once_where_files_are_away(catalog: Database, tmp_path: Path, run: Run) -> None:
    for seed in (3, 4, 5):
        (tmp_path / "library" / f"{seed}.jpg").unlink()

    def describe(images: list[Image.Image]) -> list[Exception]:
        return [RuntimeError("never")] * len(images)

    assert run(catalog, work(describe))[0] == Outcome(failed=PHOTOS - 3, waiting=3)


def test_newest_photos_come_first(catalog: Database) -> None:
    order = [photo.key for photo in descriptions.pending(catalog.conn, "captions", "measurer")]
    dates = dict(catalog.conn.execute("SELECT key, sort_at FROM photos").fetchall())
    assert [dates[key] for key in order] == sorted(dates.values(), reverse=True)


def test_what_a_full_disk_refuses_is_not_lost(catalog: Database, run: Run) -> None:
    connection: sqlite3.Connection = catalog.conn
    connection.execute("PRAGMA query_only = ON")
    with pytest.raises(sqlite3.OperationalError):
        run(catalog, work(widths))
    connection.execute("PRAGMA query_only = OFF")
    assert captions(catalog) == [] and run(catalog, work(widths))[0].described == PHOTOS


def pending(folder: Path, *sizes: tuple[int, int]) -> list[PendingPhoto]:
    found = []
    for key, size in enumerate(sizes):
        path = folder / f"{key}.png"
        Image.new("RGB", size).save(path)
        status = path.stat()
        found.append(PendingPhoto(key, "", (IndexedFile(os.fsencode(path), status.st_size, modified_ns(status)),)))
    return found


def test_pictures_that_wait_are_hardly_larger_than_they_are_looked_at(tmp_path: Path, decoders: Decoders) -> None:
    photos = pending(tmp_path, (1000, 800), (300, 250), (5000, 100), (90, 80))
    assert [
        picture.size for _, picture in read_pictures(photos, 100, 4, decoders) if isinstance(picture, Image.Image)
    ] == [
        (125, 100),
        (150, 125),
        (5000, 100),
        (90, 80),
    ]
    reduced = [one.size for _, one in read_pictures(photos, 100, 4, decoders, 10_000) if isinstance(one, Image.Image)]
    assert reduced == [(125, 100), (150, 125), (715, 15), (90, 80)]


def test_only_two_batches_are_read_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoders: Decoders) -> None:
    photos = pending(tmp_path, *[(8, 8)] * 40)
    opened: list[bytes] = []

    def counted(path: bytes) -> Any:
        opened.append(path)
        return held_file(path)

    monkeypatch.setattr("indexer.describe.stage.held_file", counted)
    with closing(read_pictures(photos, 8, 4, decoders)) as pictures:
        next(pictures)
        time.sleep(0.3)
        assert len(opened) == 2 * 4 + 2
        assert len(list(pictures)) == 39
