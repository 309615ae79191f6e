"""Pictures for the tests: the real photographs of installed packages, and small ones made on the spot."""

from __future__ import annotations

from collections.abc import Callable
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


@pytest.fixture
def tiny_checkpoint(tmp_path: Path) -> Callable[..., str]:
    """Makes a `local-dir:` checkpoint of a tiny CLIP with random weights, in open_clip's own format."""

    def make(seed: int = 0) -> str:
        import json

        import open_clip
        import torch
        from safetensors.torch import save_file

        config = {
            "embed_dim": 32,
            "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
            "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
        }
        torch.manual_seed(seed)
        folder = tmp_path / "checkpoint"
        folder.mkdir(exist_ok=True)
        network = open_clip.CLIP(**config)
        save_file(
            {name: value.contiguous() for name, value in network.state_dict().items()},
            folder / "open_clip_model.safetensors",
        )
        preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
        (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
        return f"local-dir:{folder}"

    return make
