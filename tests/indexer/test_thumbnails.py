"""Thumbnails are made on demand, kept whole, and never stand in the way of showing a photo."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hostile_tasks as hostile
import pytest
from PIL import Image

from indexer.decoding.decoders import Decoders
from indexer.decoding.failures import RecentFailures
from indexer.decoding.pool import Pool
from indexer.decoding.settings import DecodingSettings
from indexer.files import photo_id
from indexer.pictures import full_picture
from indexer.thumbnails import SIZES, Thumbnails
from search.errors import PhotoError
from search.home import Home

ID = "ab" + "0123456789" * 3


def picture(path: Path, size: tuple[int, int], **options: Any) -> Path:
    Image.effect_mandelbrot(size, (-2, -1.2, 1, 1.2), 60).convert("RGB").save(path, **options)
    return path


@pytest.fixture
def thumbnails(tmp_path: Path, decoders: Decoders) -> Thumbnails:
    return Thumbnails(Home(tmp_path / "home"), decoders)


@pytest.mark.parametrize(("size", "longest"), SIZES.items())
def test_the_longest_side_is_the_sizes(thumbnails: Thumbnails, tmp_path: Path, size: str, longest: int) -> None:
    source = picture(tmp_path / "tall.jpg", (1500, 2000))
    identity = photo_id(source.read_bytes())
    made = Image.open(io.BytesIO(thumbnails.get_bytes(identity, str(source), size)))
    assert (made.format, made.size) == ("WEBP", (longest * 3 // 4, longest))
    assert thumbnails.path_for(identity, size).parent.name == identity[:2]


def test_a_small_photo_is_never_enlarged(thumbnails: Thumbnails, tmp_path: Path) -> None:
    source = picture(tmp_path / "tiny.png", (40, 30))
    identity = photo_id(source.read_bytes())
    assert Image.open(io.BytesIO(thumbnails.get_bytes(identity, str(source), "large"))).size == (40, 30)


def test_it_stands_upright_and_tells_nothing_of_place_and_time(thumbnails: Thumbnails, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x0110] = 6, "camera"
    source = picture(tmp_path / "turned.jpg", (800, 400), exif=exif)
    identity = photo_id(source.read_bytes())
    made = Image.open(io.BytesIO(thumbnails.get_bytes(identity, str(source), "small")))
    assert made.size == (160, 320)
    assert not made.getexif()


def test_it_is_made_once(thumbnails: Thumbnails, tmp_path: Path) -> None:
    source = picture(tmp_path / "a.jpg", (500, 400))
    identity = photo_id(source.read_bytes())
    first = thumbnails.get_bytes(identity, os.fsencode(source), "small")
    source.unlink()
    assert thumbnails.get_bytes(identity, os.fsencode(source), "small") == first
    with pytest.raises(PhotoError):
        thumbnails.get_bytes(identity, os.fsencode(source), "large")


@pytest.mark.parametrize("damage", [b"", b"RIFF", b"\0" * 4000, None])
def test_a_damaged_one_is_made_anew(thumbnails: Thumbnails, tmp_path: Path, damage: bytes | None) -> None:
    source = picture(tmp_path / "a.jpg", (500, 400))
    identity = photo_id(source.read_bytes())
    whole = thumbnails.get_bytes(identity, str(source), "small")
    path = thumbnails.path_for(identity, "small")
    kept = path.read_bytes()
    path.write_bytes(kept[:-10] if damage is None else damage)
    assert thumbnails.state(identity, "small") == "damaged"
    assert thumbnails.get_bytes(identity, str(source), "small") == whole
    assert path.read_bytes() == kept and thumbnails.state(identity, "small") == "whole"


@pytest.mark.parametrize("place", range(0, 100, 7))
def test_one_with_a_single_bit_changed_is_made_anew(thumbnails: Thumbnails, tmp_path: Path, place: int) -> None:
    source = picture(tmp_path / "a.jpg", (500, 400))
    identity = photo_id(source.read_bytes())
    whole = thumbnails.get_bytes(identity, str(source), "small")
    kept = bytearray(thumbnails.path_for(identity, "small").read_bytes())
    kept[len(kept) * place // 100] ^= 4
    thumbnails.path_for(identity, "small").write_bytes(kept)
    assert thumbnails.get_bytes(identity, str(source), "small") == whole


def test_one_of_another_photo_or_size_is_not_shown(thumbnails: Thumbnails, tmp_path: Path) -> None:
    one, other = picture(tmp_path / "a.jpg", (500, 400)), picture(tmp_path / "b.jpg", (600, 300))
    first, second = photo_id(one.read_bytes()), photo_id(other.read_bytes())
    wanted = thumbnails.get_bytes(first, str(one), "small")
    thumbnails.get_bytes(second, str(other), "small")
    thumbnails.get_bytes(first, str(one), "medium")
    for wrong in (thumbnails.path_for(second, "small"), thumbnails.path_for(first, "medium")):
        wrong.replace(thumbnails.path_for(first, "small"))
        assert thumbnails.get_bytes(first, str(one), "small") == wanted


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_fifo_in_its_place_is_replaced_without_a_wait(thumbnails: Thumbnails, tmp_path: Path) -> None:
    source = picture(tmp_path / "a.jpg", (500, 400))
    identity = photo_id(source.read_bytes())
    path = thumbnails.path_for(identity, "small")
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    found: list[object] = []

    def look() -> None:
        found.append(thumbnails.kept(identity, "small"))
        found.append(thumbnails.state(identity, "small"))
        found.append(thumbnails.get_bytes(identity, str(source), "small")[:4])

    looking = threading.Thread(target=look, daemon=True)  # what waits for a writer waits for ever
    looking.start()
    looking.join(10)
    assert found == [None, "damaged", b"RIFF"]
    assert thumbnails.state(identity, "small") == "whole"


def test_one_that_is_far_too_large_is_not_read_as_a_whole(thumbnails: Thumbnails, tmp_path: Path) -> None:
    source = picture(tmp_path / "a.jpg", (500, 400))
    identity = photo_id(source.read_bytes())
    whole = thumbnails.get_bytes(identity, str(source), "small")
    os.truncate(thumbnails.path_for(identity, "small"), 2**42)
    assert thumbnails.state(identity, "small") == "damaged"
    assert thumbnails.get_bytes(identity, str(source), "small") == whole


def test_one_that_an_earlier_version_kept_is_made_anew(thumbnails: Thumbnails, tmp_path: Path) -> None:
    source = picture(tmp_path / "a.jpg", (500, 400))
    identity = photo_id(source.read_bytes())
    whole = thumbnails.get_bytes(identity, str(source), "small")
    thumbnails.path_for(identity, "small").write_bytes(whole)
    assert thumbnails.state(identity, "small") == "early"
    assert thumbnails.get_bytes(identity, str(source), "small") == whole
    assert thumbnails.state(identity, "small") == "whole"


def test_a_home_that_cannot_be_written_costs_only_time(tmp_path: Path, decoders: Decoders) -> None:
    source = picture(tmp_path / "a.jpg", (500, 400))
    identity = photo_id(source.read_bytes())
    (tmp_path / "home").write_text("a file where the folder should be: nothing can be made under it")
    thumbnails = Thumbnails(Home(tmp_path / "home"), decoders)
    for _ in range(2):
        assert thumbnails.get_bytes(identity, str(source), "small").startswith(b"RIFF")
    thumbnails.remove(identity)


def test_many_at_once_leave_one_whole_file(thumbnails: Thumbnails, tmp_path: Path) -> None:
    source = picture(tmp_path / "a.jpg", (900, 700))
    identity = photo_id(source.read_bytes())
    made: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: made.append(thumbnails.get_bytes(identity, str(source), "small")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8 and len(set(made)) == 1
    assert [path.name for path in thumbnails.path_for(identity, "small").parent.iterdir()] == [f"{identity}-small.webp"]


def test_a_removed_photo_leaves_nothing(thumbnails: Thumbnails, tmp_path: Path) -> None:
    source = picture(tmp_path / "a.jpg", (500, 400))
    identity = photo_id(source.read_bytes())
    thumbnails.get_bytes(identity, str(source), "small")
    thumbnails.get_bytes(identity, str(source), "large")
    folder = thumbnails.path_for(identity, "small").parent
    (folder / f"{identity}-small.x7.tmp").touch()
    thumbnails.remove(identity)
    thumbnails.remove(identity)
    assert list(folder.iterdir()) == []


@pytest.fixture
def harmful(monkeypatch: pytest.MonkeyPatch) -> Iterator[Decoders]:
    """Two processes that photos can harm, a quarter of a second each."""
    monkeypatch.setenv("PYTHONPATH", str(Path(hostile.__file__).parent))
    monkeypatch.setattr("indexer.decoding.failures._LONG", 0.25)
    pool = Pool(2, DecodingSettings(seconds=0.25), tasks="hostile_tasks")
    yield Decoders(pool)
    pool.close()


def test_a_photo_that_took_long_and_failed_is_not_tried_again_at_each_look(
    harmful: Decoders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thumbnails = Thumbnails(Home(tmp_path / "home"), harmful)
    source = picture(tmp_path / "a.jpg", (50, 40))
    source.write_bytes(source.read_bytes() + hostile.ENDLESS)
    identity = photo_id(source.read_bytes())

    def look(size: str) -> float:
        began = time.monotonic()
        with pytest.raises(PhotoError, match=r"^it takes longer than 0\.25 s to decode$"):
            full_picture(identity, str(source), harmful) if size == "full" else thumbnails.get_bytes(
                identity, str(source), size
            )
        return time.monotonic() - began

    with ThreadPoolExecutor(8) as threads:
        assert min(threads.map(look, ["small"] * 8)) > 0.1
    assert len(harmful.pool._workers) == 1  # all waited for one try
    with monkeypatch.context() as patch:
        patch.setattr(harmful.pool, "worker", None)
        for size in (*SIZES, "full"):
            look(size)
    after = time.monotonic() + 301
    monkeypatch.setattr("indexer.decoding.failures.time", SimpleNamespace(monotonic=lambda: after))
    assert look("small") > 0.2


def test_what_failed_soon_may_be_tried_each_time() -> None:
    failures = RecentFailures()
    for _ in range(2):
        tried = False
        with pytest.raises(PhotoError, match="odd"), failures.trying(ID):
            tried = True
            raise PhotoError("it is odd")
        assert tried


class SameHash(str):
    """Text whose hash is that of all others."""

    def __hash__(self) -> int:
        return 1


@pytest.mark.usefixtures("harmful")
def test_a_photo_that_takes_long_keeps_no_other_waiting(tmp_path: Path) -> None:
    pool = Pool(2, DecodingSettings(), tasks="hostile_tasks")
    thumbnails = Thumbnails(Home(tmp_path / "home"), Decoders(pool))
    hangs, sound = picture(tmp_path / "a.jpg", (50, 40)), picture(tmp_path / "b.jpg", (50, 40), quality=50)
    hangs.write_bytes(hangs.read_bytes() + hostile.STILL)
    first, second = (SameHash(photo_id(file.read_bytes())) for file in (hangs, sound))
    with ThreadPoolExecutor(2) as threads:
        hanging = threads.submit(thumbnails.get_bytes, first, str(hangs), "small")
        while not pool.pids:
            time.sleep(0.005)
        try:
            assert threads.submit(thumbnails.get_bytes, second, str(sound), "small").result(10).startswith(b"RIFF")
            assert not hanging.done()
        finally:
            pool.close()


@pytest.mark.parametrize(
    ("photo_id", "size"), [("../../etc/passwd", "small"), (ID, "huge"), ("", "small"), ("*", "small")]
)
def test_only_ids_and_sizes_make_a_path(thumbnails: Thumbnails, photo_id: str, size: str) -> None:
    with pytest.raises(ValueError, match="there is no thumbnail"):
        thumbnails.path_for(photo_id, size)


def test_a_file_that_changed_is_never_shown_under_the_id_of_what_it_was(thumbnails: Thumbnails, tmp_path: Path) -> None:
    source = tmp_path / "a.bmp"
    Image.new("RGB", (64, 64), "red").save(source)
    identity = photo_id(source.read_bytes())
    Image.new("RGB", (64, 64), "blue").save(source)
    with pytest.raises(PhotoError, match="has changed since it was indexed"):
        thumbnails.get_bytes(identity, str(source), "small")
    assert not thumbnails.path_for(identity, "small").exists()
