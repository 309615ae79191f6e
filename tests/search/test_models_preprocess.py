"""Preprocessing gives the pixels of open_clip's own transform, with torch and without it."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import pytest
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from support import photos

from search.models.preprocess import Preprocess

CONFIGS = [
    {"size": 144, "resize_mode": "shortest"},
    {"size": (64, 64), "resize_mode": "squash", "interpolation": "bilinear"},
    {"size": 96, "resize_mode": "longest", "fill_color": 100},
    {"size": (64, 96), "resize_mode": "longest"},
    {"size": (64, 96), "resize_mode": "shortest", "interpolation": "bilinear"},
]
SHAPES = [
    (640, 427),
    (427, 640),
    (144, 144),
    (60, 45),
    (1, 1),
    (3, 400),
    (1500, 200),
    (145, 143),
    (3000, 2000),
]


@contextmanager
def resizing_with(kernel: str) -> Iterator[None]:
    """Either way of resizing: in a process that never imported torch, `sys.modules` has no entry for it."""
    with pytest.MonkeyPatch.context() as patch:
        if kernel == "pillow":
            patch.delitem(sys.modules, "torch")
        yield


def open_clips_own(config: dict[str, object], image: Image.Image) -> npt.NDArray[np.float32]:
    plain = {**config, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    transform = image_transform_v2(PreprocessCfg(**plain), is_train=False)
    return np.asarray(transform(image).numpy().transpose(1, 2, 0) * 255)


def preprocess(config: dict[str, object]) -> Preprocess:
    return Preprocess.from_config({"mean": (0.0,) * 3, "std": (1.0,) * 3, **config})


@pytest.mark.parametrize("kernel", ["torch", "pillow"])
@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_pixels_are_open_clips(config: dict[str, object], kernel: str) -> None:
    for image in photos()[:10]:
        expected = open_clips_own(config, image)
        with resizing_with(kernel):
            pixels = preprocess(config)(image)
        assert pixels.shape == expected.shape and pixels.dtype == np.uint8
        assert np.abs(pixels - expected).mean() < 1.0  # grey levels of 255


@pytest.mark.parametrize("kernel", ["torch", "pillow"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_any_shape_of_photo_becomes_the_models(config: dict[str, object], shape: tuple[int, int], kernel: str) -> None:
    ours = preprocess(config)
    with resizing_with(kernel):
        pixels = ours(Image.new("RGB", shape, (200, 100, 50)))
    assert pixels.shape == (*ours.size, 3)
    middle = pixels[(ours.size[0] - 1) // 2, (ours.size[1] - 1) // 2]
    np.testing.assert_allclose(middle, (200, 100, 50), atol=1)


def test_a_jpeg_is_decoded_at_twice_the_models_size() -> None:
    assert preprocess({"size": (64, 96)}).draft_size == (192, 128)


def test_unknown_resize_modes_are_refused() -> None:
    with pytest.raises(ValueError, match="stretch"):
        preprocess({"size": 64, "resize_mode": "stretch"})


def test_it_travels_to_worker_processes_without_torch() -> None:
    ours = preprocess({"size": 64})
    assert pickle.loads(pickle.dumps(ours)) == ours
    code = "import sys, search.models.preprocess; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_drafting_rounds_up_stays_in_its_place() -> None:
    """Half of 973 pixels are 487 in a drafted JPEG, the last of them half empty."""
    ours = preprocess({"size": 144, "resize_mode": "shortest"})
    for image in photos()[:6]:
        side = min(image.size)
        file = io.BytesIO()
        image.crop((0, 0, side, side)).resize((973, 973)).save(file, "JPEG", quality=95)
        drafted = Image.open(file)
        drafted.draft(None, ours.draft_size)
        pixels = ours(drafted.convert("RGB"), (973, 973))
        assert drafted.size == (487, 487)
        expected = ours(Image.open(file).convert("RGB"))
        assert np.abs(pixels.astype(float) - expected)[72:, 72:].mean() < 0.5  # grey levels; 1 to 2 where it slips
