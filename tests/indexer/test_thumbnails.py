"""Thumbnails are made on demand, kept whole, and never stand in the way of showing a photo."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from indexer.thumbnails import SIZES, Thumbnails
from search.errors import PhotoError
from search.home import Home

ID = "ab" + "0123456789" * 3


def picture(path: Path, size: tuple[int, int], **options: Any) -> Path:
    Image.effect_mandelbrot(size, (-2, -1.2, 1, 1.2), 60).convert("RGB").save(path, **options)
    return path


@pytest.fixture
def thumbnails(tmp_path: Path) -> Thumbnails:
    return Thumbnails(Home(tmp_path / "home"))


@pytest.mark.parametrize(("size", "longest"), SIZES.items())
def test_the_longest_side_is_the_sizes(thumbnails: Thumbnails, tmp_path: Path, size: str, longest: int) -> None:
    source = picture(tmp_path / "tall.jpg", (1500, 2000))
    made = Image.open(io.BytesIO(thumbnails.get_bytes(ID, str(source), size)))
    assert (made.format, made.size) == ("WEBP", (longest * 3 // 4, longest))
    assert thumbnails.path_for(ID, size).parent.name == "ab"


def test_a_small_photo_is_never_enlarged(thumbnails: Thumbnails, tmp_path: Path) -> None:
    source = picture(tmp_path / "tiny.png", (40, 30))
    assert Image.open(io.BytesIO(thumbnails.get_bytes(ID, str(source), "large"))).size == (40, 30)


def test_it_stands_upright_and_tells_nothing_of_place_and_time(thumbnails: Thumbnails, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x0110] = 6, "camera"
    source = picture(tmp_path / "turned.jpg", (800, 400), exif=exif)
    made = Image.open(io.BytesIO(thumbnails.get_bytes(ID, str(source), "small")))
    assert made.size == (160, 320)
    assert not made.getexif()


def test_it_is_made_once(thumbnails: Thumbnails, tmp_path: Path) -> None:
    source = picture(tmp_path / "a.jpg", (500, 400))
    first = thumbnails.get_bytes(ID, os.fsencode(source), "small")
    source.unlink()
    assert thumbnails.get_bytes(ID, os.fsencode(source), "small") == first
    with pytest.raises(PhotoError):
        thumbnails.get_bytes(ID, os.fsencode(source), "large")


@pytest.mark.parametrize("damage", [b"", b"RIFF", b"\0" * 4000, None])
def test_a_damaged_one_is_made_anew(thumbnails: Thumbnails, tmp_path: Path, damage: bytes | None) -> None:
    source = picture(tmp_path / "a.jpg", (500, 400))
    whole = thumbnails.get_bytes(ID, str(source), "small")
    path = thumbnails.path_for(ID, "small")
    path.write_bytes(whole[:-10] if damage is None else damage)
    assert thumbnails.get_bytes(ID, str(source), "small") == whole
    assert path.read_bytes() == whole


def test_a_home_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    source = picture(tmp_path / "a.jpg", (500, 400))
    (tmp_path / "home").write_text("a file where the folder should be: nothing can be made under it")
    thumbnails = Thumbnails(Home(tmp_path / "home"))
    for _ in range(2):
        assert thumbnails.get_bytes(ID, str(source), "small").startswith(b"RIFF")
    thumbnails.remove(ID)


def test_many_at_once_leave_one_whole_file(thumbnails: Thumbnails, tmp_path: Path) -> None:
    source = picture(tmp_path / "a.jpg", (900, 700))
    made: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: made.append(thumbnails.get_bytes(ID, str(source), "small"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8 and len(set(made)) == 1
    assert [path.name for path in thumbnails.path_for(ID, "small").parent.iterdir()] == [f"{ID}-small.webp"]


def test_a_removed_photo_leaves_nothing(thumbnails: Thumbnails, tmp_path: Path) -> None:
    source = picture(tmp_path / "a.jpg", (500, 400))
    thumbnails.get_bytes(ID, str(source), "small")
    thumbnails.get_bytes(ID, str(source), "large")
    folder = thumbnails.path_for(ID, "small").parent
    (folder / f"{ID}-small.x7.tmp").touch()
    thumbnails.remove(ID)
    thumbnails.remove(ID)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("photo_id", "size"), [("../../etc/passwd", "small"), (ID, "huge"), ("", "small"), ("*", "small")]
)
def test_only_ids_and_sizes_make_a_path(thumbnails: Thumbnails, photo_id: str, size: str) -> None:
    with pytest.raises(ValueError, match="there is no thumbnail"):
        thumbnails.path_for(photo_id, size)
