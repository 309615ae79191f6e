"""Broken and malicious files end in one sentence each, in bounded memory, and in no other exception."""

from __future__ import annotations

import contextlib
import io
import os
import random
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from indexer.pictures import is_upright
from indexer.read import decode
from search.errors import PhotoError

# Pillow warns of what it finds in a broken file. `indexer.read` silences that, but pytest sets its own
# filters.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF")


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    if format == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    content = io.BytesIO()
    image.save(content, format, **options)
    return content.getvalue()


def plain(size: tuple[int, int] = (96, 64)) -> Image.Image:
    return Image.new("RGB", size, (220, 30, 30))


def noise(size: tuple[int, int] = (120, 90)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8))


def png(width: int, height: int, *, depth: int = 8, colour: int = 2, chunks: tuple[bytes, ...] = ()) -> bytes:
    """A PNG of blank pixels made by hand: Pillow would need the memory that the reader must not use."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    row = 1 + (width * depth * {0: 1, 2: 3}[colour] + 7) // 8
    packer, data = zlib.compressobj(9), b""
    for _ in range(height):
        data += packer.compress(bytes(row))
    data += packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = (
        chunk(b"IHDR", header),
        *(chunk(c[:4], c[4:]) for c in chunks),
        chunk(b"IDAT", data),
        chunk(b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_what_is_no_picture_is_said_so() -> None:
    with pytest.raises(PhotoError, match=r"^it is empty$"):
        decode(b"")
    for content in (
        b"just a text file called holiday.jpg\n",
        b"\0" * 5000,
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"\xff",
    ):
        with pytest.raises(PhotoError, match=r"^it is not a picture in a known format$"):
            decode(content)


@pytest.mark.parametrize("format", FORMATS)
def test_a_truncated_picture_is_said_so(format: str) -> None:
    content = encoded(noise(), format)
    for cut in (len(content) // 2, len(content) * 9 // 10):
        with pytest.raises(PhotoError) as error:
            decode(content[:cut])
        assert str(error.value) == "it is truncated: the file ends before the picture does"


@pytest.mark.parametrize("format", FORMATS)
def test_a_header_cut_anywhere_is_a_photo_error(format: str) -> None:
    content = encoded(noise((16, 16)), format)
    for cut in range(1, min(len(content) - 1, 200)):
        with pytest.raises(PhotoError):
            decode(content[:cut])


@pytest.mark.parametrize("format", FORMATS)
def test_mutated_bytes_give_a_picture_or_a_photo_error(format: str) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x0110] = 6, "camera"
    exif.get_ifd(0x8825)[2] = (1.0, 2.0, 3.0)
    content = encoded(plain(), format, **({} if format in ("GIF", "BMP") else {"exif": exif}))
    chance = random.Random(format)
    for _ in range(200):
        broken = bytearray(content)
        for _ in range(chance.choice((1, 2, 8, 40))):
            # Half of the hits go to the headers, where they do the most harm.
            end = len(broken) if chance.random() < 0.5 else min(120, len(broken))
            broken[chance.randrange(end)] = chance.choice((0, 0xFF, chance.randrange(256)))
        try:
            photo = decode(bytes(broken), draft=chance.choice((None, (20, 20))), max_pixels=4_000_000)
        except PhotoError as error:
            assert str(error).startswith("it ") and "\n" not in str(error) and len(str(error)) < 200
        else:
            assert photo.image.mode == "RGB"
            photo.image.tobytes()


def test_a_bomb_is_refused_before_a_pixel_is_decoded(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png(30_000, 30_000, depth=1, colour=0))
    assert (tmp_path / "bomb.png").stat().st_size < 1_000_000
    code = """if True:
        import resource, sys
        from indexer.read import read_photo
        from search.errors import PhotoError
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            read_photo(sys.argv[1])
        except PhotoError as error:
            print(error)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    pytest.importorskip("resource")
    command = [sys.executable, "-c", code, str(tmp_path / "bomb.png")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    sentence, grown = done.stdout.splitlines()
    assert sentence.startswith("it has 900 megapixels (30000 x 30000), more than the limit of ")
    assert int(grown) < 40_000 * (1024 if sys.platform == "darwin" else 1)
    assert done.stderr == ""


@pytest.mark.parametrize("format", FORMATS)
def test_each_format_honours_the_limit(format: str) -> None:
    content = encoded(plain((200, 150)), format)
    assert decode(content, max_pixels=30_000).image.size == (200, 150)
    with pytest.raises(PhotoError, match=r"^it has 0.03 megapixels \(200 x 150\), more than"):
        decode(content, max_pixels=29_999)


def test_pillows_own_limit_neither_refuses_nor_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert decode(encoded(plain(), "JPEG")).image.size == (96, 64)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_a_drafted_jpeg_counts_what_it_will_hold() -> None:
    baseline = encoded(plain((800, 800)), "JPEG")
    assert decode(baseline, draft=(100, 100), max_pixels=100_000).image.size == (100, 100)
    with pytest.raises(PhotoError, match="megapixels"):
        decode(baseline, draft=(100, 100), max_pixels=79_000)  # more than 8 times too large: it would take long
    with pytest.raises(PhotoError, match="megapixels"):
        decode(encoded(plain((800, 800)), "JPEG", progressive=True), draft=(100, 100), max_pixels=100_000)


def test_text_that_unpacks_without_end_is_refused() -> None:
    text = b"zTXtcomment\0\0" + zlib.compress(bytes(100_000_000), 9)
    with pytest.raises(PhotoError, match="kind of PNG that cannot be read"):
        decode(png(8, 8, chunks=(text,)))


def test_a_picture_without_width_is_refused() -> None:
    for content in (png(0, 8), encoded(plain(), "GIF").replace(struct.pack("<HH", 96, 64), bytes(4))):
        with pytest.raises(PhotoError):
            decode(content)


def test_nothing_is_written_to_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    # libtiff writes of bad code words straight to the terminal, past Python.
    content = bytearray(encoded(noise().convert("1"), "TIFF", compression="group4"))
    middle = len(content) // 2
    content[middle : middle + 60] = b"\xff" * 60
    with contextlib.suppress(PhotoError):
        decode(bytes(content))
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_nobody_waits_for_what_a_fifo_may_bring(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    said: list[str] = []

    def look() -> None:
        try:
            is_upright(str(tmp_path / "a.jpg"), "JPEG")
        except PhotoError as error:
            said.append(str(error))

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    looking.join(10)
    assert said == ["it is not a regular file"]


def test_a_file_that_fails_to_read_is_a_photo_error() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(PhotoError, match="Input/output error"):
        decode(Failing())
