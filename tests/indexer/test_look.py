"""What is kept of how a photo looks: its preview, and the hash by which its copies are known."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from support import photos

from indexer.decoding.decoders import Decoders
from indexer.look import look
from indexer.pipeline import read_files
from indexer.scan import FoundFile
from search.models.preprocess import Preprocess

Edit = Callable[[Image.Image], Image.Image]
PREPROCESS = Preprocess((64, 64), "squash", "bicubic", (0.5,) * 3, (0.5,) * 3)


def saved(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=40)
    return Image.open(buffer).convert("RGB")


def bits(one: Image.Image, other: Image.Image) -> int:
    return (look(one).perceptual_hash ^ look(other).perceptual_hash).bit_count()


@pytest.mark.parametrize(
    "edit",
    [
        saved,
        lambda image: image.resize((image.width // 3, image.height // 3)),
        lambda image: image.resize((image.width * 2, image.height)),
        lambda image: ImageEnhance.Brightness(image).enhance(0.85),
        lambda image: image.convert("L").convert("RGB"),
    ],
    ids=["recompressed", "smaller", "stretched", "darker", "grey"],
)
def test_copies_have_nearly_the_same_hash(edit: Edit) -> None:
    assert max(bits(photo, edit(photo)) for photo in photos()[:8]) <= 4


def test_different_photos_have_hashes_far_apart() -> None:
    distinct = [photo for place, photo in enumerate(photos()[:10]) if place != 6]  # that one comes twice
    assert min(bits(one, other) for one, other in combinations(distinct, 2)) > 10


def test_hashes_fit_into_the_catalogs_whole_numbers() -> None:
    assert all(0 < look(photo).perceptual_hash < 2**63 for photo in photos()[:8])


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (640, 480)])
@pytest.mark.parametrize("colour", ["white", "black", "teal"])
def test_a_picture_of_one_colour_has_no_hash(size: tuple[int, int], colour: str) -> None:
    seen = look(Image.new("RGB", size, colour))
    assert seen.perceptual_hash == 0
    assert seen.preview == Image.new("RGB", (4, 3), colour).tobytes()


def test_neither_noise_nor_a_few_lines_make_a_hash() -> None:
    noise = np.random.default_rng(0).integers(235, 255, (600, 800, 3), dtype=np.uint8)
    page = Image.new("RGB", (1240, 1754), "white")
    for line in range(4):
        page.paste("black", (150, 200 + 40 * line, 500 + 60 * line, 204 + 40 * line))
    assert look(Image.fromarray(noise)).perceptual_hash == 0 == look(page).perceptual_hash


def test_the_preview_is_of_the_upright_photo_from_the_top(tmp_path: Path, decoders: Decoders) -> None:
    upright = Image.new("RGB", (90, 120), "blue")
    upright.paste("red", (0, 0, 90, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying, to be turned by 90 degrees
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "lying.png", exif=exif)
    found = FoundFile(str(tmp_path).encode(), b"lying.png", 0, 0, None)
    (read,) = read_files([found], PREPROCESS, lambda identity: False, decoders)
    assert read.photo is not None and read.photo.look is not None
    rows = np.frombuffer(read.photo.look.preview, np.uint8).reshape(3, 4, 3)
    assert (rows[0] == (255, 0, 0)).all() or np.abs(rows[0].astype(int) - (255, 0, 0)).max() < 25
    assert np.abs(rows[2].astype(int) - (0, 0, 255)).max() < 5
