"""Pictures for the tests: the real photographs of installed packages, and small ones made on the spot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexer.samples import gather_samples
from search.home import Home

FLICKR = Path(__file__).resolve().parents[2] / "shared" / "flickr8k-dev"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home that does not exist yet."""
    return Home(tmp_path / "home")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A folder with the sample photos of installed packages."""
    folder = tmp_path / "library"
    gather_samples(folder)
    return folder


@pytest.fixture(scope="session")
def flickr() -> Path:
    """Flickr8k's dev photos with captions, where they are at hand."""
    if not FLICKR.is_dir():
        pytest.skip("flickr8k-dev is not here")
    return FLICKR


def picture(path: Path | bytes, seed: int, size: tuple[int, int] = (64, 48)) -> None:
    """Write a small JPEG whose content depends on `seed` alone."""
    colours = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    with open(path, "wb") as file:
        Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC).save(file, "JPEG")
