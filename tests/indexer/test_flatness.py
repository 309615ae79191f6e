"""How flat a picture is: what tells screens and drawings from photos."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from support import photos

from indexer.pixels import flatness


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (300, 1), (640, 480)])
def test_one_colour_is_all_flat(size: tuple[int, int]) -> None:
    assert flatness(Image.new("RGB", size, "teal")) == 1


def test_no_pixel_as_its_neighbour_is_not_flat_at_all() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (200, 300, 3), dtype=np.uint8)
    assert flatness(Image.fromarray(noise)) < 0.01


def test_rows_of_one_colour_are_half_flat() -> None:
    rows = np.repeat(np.arange(64, dtype=np.uint8)[:, None, None], 64, axis=1).repeat(3, axis=2)
    assert flatness(Image.fromarray(rows)) == pytest.approx(0.5)


@pytest.mark.parametrize("side", [32, 48, 400])
def test_photos_are_hardly_flat_however_small(side: int) -> None:
    found = [flatness(photo.resize((side, side))) for photo in photos()[:6]]
    assert float(np.median(found)) < 0.1
