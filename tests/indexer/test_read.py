"""Every format, colour mode and orientation comes out as the same upright RGB picture."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from indexer.pixels import DecodingRoom, _cgroup_rooms, default_max_pixels
from indexer.read import decode, read_photo
from indexer.suffixes import SUFFIXES
from search.errors import PhotoError

RED, GREEN, BLUE, WHITE = (220, 30, 30), (30, 180, 30), (30, 30, 220), (255, 255, 255)


def quarters(size: tuple[int, int] = (96, 64)) -> Image.Image:
    """Red, green / blue, white: no two of the eight orientations of it look alike."""
    image = Image.new("RGB", size, WHITE)
    w, h = size[0] // 2, size[1] // 2
    image.paste(RED, (0, 0, w, h))
    image.paste(GREEN, (w, 0, size[0], h))
    image.paste(BLUE, (0, h, w, size[1]))
    return image


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    if format == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    content = io.BytesIO()
    image.save(content, format, **options)
    return content.getvalue()


def is_quarters(image: Image.Image, tolerance: int = 40) -> bool:
    assert image.mode == "RGB"
    w, h = image.size
    points = ((w // 4, h // 4), (3 * w // 4, h // 4), (w // 4, 3 * h // 4), (3 * w // 4, 3 * h // 4))
    found = np.array([image.getpixel(point) for point in points], int)
    return bool(np.abs(found - np.array([RED, GREEN, BLUE, WHITE])).max() <= tolerance)


@pytest.mark.parametrize(
    ("format", "name", "options"),
    [
        ("JPEG", "JPEG", {"quality": 90}),
        ("JPEG", "JPEG", {"quality": 90, "progressive": True}),
        ("MPO", "JPEG", {"save_all": True, "append_images": [Image.new("RGB", (96, 64))]}),
        ("PNG", "PNG", {}),
        ("PNG", "PNG", {"save_all": True, "append_images": [Image.new("RGB", (96, 64))]}),
        ("WEBP", "WEBP", {"quality": 90}),
        ("WEBP", "WEBP", {"lossless": True}),
        ("WEBP", "WEBP", {"save_all": True, "append_images": [Image.new("RGB", (96, 64))], "quality": 90}),
        ("GIF", "GIF", {}),
        ("GIF", "GIF", {"save_all": True, "append_images": [Image.new("RGB", (96, 64))]}),
        ("TIFF", "TIFF", {}),
        ("TIFF", "TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", "TIFF", {"big_tiff": True}),
        ("TIFF", "TIFF", {"save_all": True, "append_images": [Image.new("RGB", (9, 9))]}),
        ("BMP", "BMP", {}),
        ("AVIF", "AVIF", {"quality": 90}),
        ("HEIF", "HEIC", {"quality": 90}),
    ],
)
def test_each_format_gives_its_first_picture(format: str, name: str, options: dict[str, Any]) -> None:
    photo = decode(encoded(quarters(), format, **options))
    assert is_quarters(photo.image)
    assert (photo.width, photo.height, photo.format) == (96, 64, name)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright(format: str, orientation: int) -> None:
    # What a camera stores is the inverse of what must be done to it.
    method = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }.get(orientation)
    stored = quarters() if method is None else quarters().transpose(method)
    exif = Image.Exif()
    exif[0x0112] = orientation
    # As bytes, because pillow-heif writes HEIC's own rotation only then; EXIF's alone counts for nothing in
    # HEIC.
    photo = decode(encoded(stored, format, exif=exif.tobytes()))
    assert (photo.width, photo.height) == photo.image.size == (96, 64)
    assert is_quarters(photo.image)


def test_a_drafted_jpeg_is_smaller_upright_and_never_below_what_was_asked_for() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(quarters((800, 1600)).transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif)
    photo = decode(content, draft=(100, 300))
    assert photo.image.size == (200, 400)
    assert (photo.width, photo.height) == (800, 1600)
    assert is_quarters(photo.image)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I;16", "I", "F"])
def test_each_mode_keeps_dark_dark_and_light_light(mode: str) -> None:
    grey = Image.new("L", (64, 64), 0)
    grey.paste(255, (32, 0, 64, 64))
    deep = np.asarray(grey, np.float64) / 255
    stored = {
        "I;16": lambda: Image.fromarray((deep * 65535).astype(np.uint16)),
        "I": lambda: Image.fromarray((deep * 1_000_000).astype(np.int32)),
        "F": lambda: Image.fromarray(deep.astype(np.float32)),
        "LAB": lambda: Image.merge("LAB", (grey, *2 * (Image.new("L", grey.size, 128),))),
        "PA": lambda: grey.convert("P").convert("PA"),
    }.get(mode, lambda: (grey if mode in "1L" else grey.convert("RGB")).convert(mode))()
    format = "TIFF" if mode in ("CMYK", "YCbCr", "LAB", "I;16", "I", "F") else "PNG"
    if mode in ("PA", "HSV"):  # no format of ours stores these, but plugins may hand them over
        from indexer.pixels import to_rgb

        image = to_rgb(stored)
    else:
        image = decode(encoded(stored, format)).image
    assert image.mode == "RGB"
    pixels = np.asarray(image)
    assert pixels[32, 8].max() <= 40 and pixels[32, 56].min() >= 225


def test_a_cmyk_jpeg_has_its_colours() -> None:
    photo = decode(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95))
    red, green, blue = photo.image.getpixel((8, 8))  # type: ignore[misc]
    assert red > 200 and green < 60 and blue < 60


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    ramp = np.tile(np.linspace(0, 65535, 256), (8, 1)).astype(np.uint16)
    for format in ("PNG", "TIFF"):
        got = np.asarray(decode(encoded(Image.fromarray(ramp), format)).image)[0, :, 0].astype(int)
        assert np.abs(got - np.arange(256)).max() <= 1
    twelve = np.asarray(decode(encoded(Image.fromarray(ramp // 16), "TIFF")).image)[0, :, 0].astype(int)
    assert np.abs(twelve - np.arange(256)).max() <= 1


def test_not_a_number_is_no_obstacle() -> None:
    values = np.full((8, 8), np.nan, np.float32)
    assert decode(encoded(Image.fromarray(values), "TIFF")).image.getpixel((0, 0)) == (0, 0, 0)
    values[0, 0], values[1, 1], values[2, 2] = np.inf, -300.0, 900.0
    image = decode(encoded(Image.fromarray(values), "TIFF")).image
    assert image.getpixel((2, 2)) == WHITE and image.getpixel((1, 1)) == (0, 0, 0)


def test_what_is_transparent_is_white() -> None:
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    clear.putpixel((1, 1), (255, 0, 0, 255))
    indexed = Image.new("P", (8, 8), 0)
    indexed.putpalette([0, 0, 0, 255, 0, 0])
    indexed.putpixel((1, 1), 1)
    flat = Image.new("RGB", (8, 8), (1, 2, 3))
    flat.putpixel((1, 1), (255, 0, 0))
    for content in (
        encoded(clear, "PNG"),
        encoded(clear, "WEBP", lossless=True),
        encoded(clear, "TIFF"),
        encoded(indexed, "GIF", transparency=0),
        encoded(indexed, "PNG", transparency=0),
        encoded(flat, "PNG", transparency=(1, 2, 3)),
    ):
        image = decode(content).image
        assert image.getpixel((5, 5)) == WHITE
        assert image.getpixel((1, 1)) == (255, 0, 0)


def test_a_photo_is_read_from_bytes_a_file_or_a_path(tmp_path: Path) -> None:
    content = encoded(quarters(), "PNG")
    path = tmp_path / os.fsdecode(b"caf\xe9\n.png")
    path.write_bytes(content)
    for source in (content, io.BytesIO(content), path, str(path)):
        assert is_quarters(read_photo(source))


def test_a_path_that_cannot_be_opened_has_its_sentence(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match=r"^it cannot be opened: no such file or directory$"):
        read_photo(tmp_path / "gone.jpg")
    with pytest.raises(PhotoError, match="not a regular file"):
        read_photo(tmp_path)
    with pytest.raises(PhotoError, match="its name is not valid"):
        read_photo("a\0b.jpg")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.jpg")
        with pytest.raises(PhotoError, match="not a regular file"):
            read_photo(tmp_path / "pipe.jpg")


def test_the_pixel_limit_follows_memory_within_bounds() -> None:
    assert 50_000_000 <= default_max_pixels() <= 500_000_000


def test_a_control_groups_limit_counts(tmp_path: Path) -> None:
    assert _cgroup_rooms(tmp_path) == []
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 150\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert _cgroup_rooms(tmp_path) == []
    (tmp_path / "memory.max").write_text("1000\n")
    assert _cgroup_rooms(tmp_path) == [450]


def test_suffixes_are_lower_case_with_their_dot() -> None:
    assert {".jpg", ".jpeg", ".png", ".webp", ".gif", ".tiff", ".bmp", ".avif", ".heic"} <= SUFFIXES
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in SUFFIXES)


def test_a_format_is_loaded_when_its_first_photo_comes() -> None:
    code = "import sys, indexer.read; sys.exit(bool({'pillow_heif', 'torch', 'psutil'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_pictures_share_the_room_and_a_large_one_is_let_in_alone() -> None:
    room = DecodingRoom(100)
    inside: list[int] = []
    most: list[int] = []

    def decode_one(pixels: int) -> None:
        with room.taken(pixels):
            inside.append(pixels)
            most.append(sum(inside))
            time.sleep(0.002)
            inside.remove(pixels)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decode_one, [60, 30, 10, 250, 50] * 8))
    assert max(total for total in most if total != 250) <= 100 and 250 in most


def test_the_room_is_given_back_when_decoding_fails() -> None:
    room = DecodingRoom(100)
    for _ in range(2):
        with pytest.raises(ValueError, match="damaged"), room.taken(100):
            raise ValueError("damaged")
