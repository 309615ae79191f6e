"""From a decoded photo to the pixels that a model takes: open_clip's transform for inference, made faster."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

RESIZE_MODES = ("shortest", "squash", "longest")
# How much larger than the model's size a JPEG must still be after draft decoding: of 1,000 photos the worst
# embedding has a cosine of 0.947 to the full decode's at 1x, 0.994 at 1.5x, 0.998 at 2x
# (benchmarks/preprocess.py, starter).
_DRAFT = 2
# Beyond twice this ratio Pillow averages whole pixels before it filters: far faster, worst cosine 0.9999.
_REDUCING_GAP = 3.0
# To be raised when this module makes other pixels of a photo than before, but for the last bit.
_REVISION = 1


@dataclass(frozen=True)
class Preprocess:
    """A model's own preprocessing, up to (not including) normalisation. Picklable; does not import torch.

    `size` is (height, width) in pixels; `mean` and `std` are per channel (RGB, for values in 0..1) and are
    applied by the encoder, on the device; `fill` is the grey level (0..255) around the photo in mode
    `longest`.
    """

    size: tuple[int, int]
    resize_mode: str
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fill: int = 0

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Preprocess:
        """From open_clip's `visual.preprocess_cfg`.

        Raises:
            ValueError: the configuration names what open_clip does not know.
        """
        size = config["size"]
        height, width = (size[0], size[-1]) if isinstance(size, (list, tuple)) else (size, size)
        mode = config.get("resize_mode") or "shortest"
        if mode not in RESIZE_MODES:
            raise ValueError(f"unknown resize_mode {mode!r}")
        bilinear = config.get("interpolation") == "bilinear"
        if mode == "shortest" and height != width:
            bilinear = False  # as open_clip does, whatever its configuration says
        mean, std = (_channels(config[key]) for key in ("mean", "std"))
        fill = int(config.get("fill_color") or 0)
        return cls((int(height), int(width)), mode, "bilinear" if bilinear else "bicubic", mean, std, fill)

    @property
    def fingerprint(self) -> str:
        """8 hexadecimal digits that identify what is made of a photo."""
        content = repr((astuple(self), _DRAFT, _REDUCING_GAP, _REVISION))
        return hashlib.blake2b(content.encode(), digest_size=4).hexdigest()

    @property
    def draft_size(self) -> tuple[int, int]:
        """The (width, height) for `PIL.Image.Image.draft`: a JPEG decoded no smaller embeds the same."""
        return _DRAFT * self.size[1], _DRAFT * self.size[0]

    def __call__(self, image: Image.Image | Pixels, full_size: tuple[int, int] | None = None) -> Pixels:
        """`image` (upright RGB of any size, as a picture or as uint8 [rows, columns, 3]) resized and cropped to
        uint8 [height, width, 3].

        `full_size` is the (width, height), upright too, that `image` had before draft decoding. Drafting rounds
        up: without it the crop may shift by a pixel, and what lies at the far edges by a part of one.
        """
        plan = self._plan(_size(image), full_size)
        small = _resized(image, plan, self.interpolation)
        if self.resize_mode != "longest":
            return small
        (target_h, target_w), (new_h, new_w) = self.size, small.shape[:2]
        canvas = np.full((target_h, target_w, 3), self.fill, dtype=np.uint8)
        top, left = (target_h - new_h) // 2, (target_w - new_w) // 2
        canvas[top : top + new_h, left : left + new_w] = small
        return canvas

    def suits_kernel(self, size: tuple[int, int], full_size: tuple[int, int] | None = None) -> bool:
        """Whether a picture of this (width, height) is resized by PyTorch's kernel, in a process that has it."""
        return self._plan(size, full_size).suits_kernel

    def _plan(self, size: tuple[int, int], full_size: tuple[int, int] | None) -> _Plan:
        (width, height), (target_h, target_w) = full_size or size, self.size
        reduced = max(1, round(max(width, height) / max(size)))
        extent = (width / reduced, height / reduced)
        if self.resize_mode == "squash":
            return _Plan(size, extent, (target_w, target_h), (0, 0, target_w, target_h))
        new_w, new_h = self._scaled(width, height)
        if self.resize_mode == "longest":
            return _Plan(size, extent, (new_w, new_h), (0, 0, new_w, new_h))
        left, top = round((new_w - target_w) / 2), round((new_h - target_h) / 2)
        return _Plan(size, extent, (new_w, new_h), (left, top, left + target_w, top + target_h))

    def area(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Left, top, width and height, as fractions of a photo of this size, of what the model sees of it.

        What is cropped away lies outside; where borders are added, it reaches beyond the photo.
        """
        target_h, target_w = self.size
        new_w, new_h = (target_w, target_h) if self.resize_mode == "squash" else self._scaled(width, height)
        left, top = (new_w - target_w) / 2, (new_h - target_h) / 2
        return left / new_w, top / new_h, target_w / new_w, target_h / new_h

    def _scaled(self, width: int, height: int) -> tuple[int, int]:
        """The photo's size once resized, before it is cropped or padded, rounded as open_clip rounds it."""
        target_h, target_w = self.size
        if self.resize_mode == "longest":
            ratio = max(height / target_h, width / target_w)
            return max(1, round(width / ratio)), max(1, round(height / ratio))
        if target_h == target_w:  # torchvision's Resize(int), which cuts off where the others round
            if width <= height:
                return target_w, int(target_h * height / width)
            return int(target_w * width / height), target_h
        ratio = min(height / target_h, width / target_w)
        return max(target_w, round(width / ratio)), max(target_h, round(height / ratio))


class _Plan(NamedTuple):
    """The first `extent` of a picture of `size` as if resized to `new_size` and then cropped to `crop`, all in (width,
    height) order.
    """

    size: tuple[int, int]
    extent: tuple[float, float]
    new_size: tuple[int, int]
    crop: tuple[int, int, int, int]

    @property
    def scale(self) -> tuple[float, float]:
        return self.extent[0] / self.new_size[0], self.extent[1] / self.new_size[1]

    @property
    def suits_kernel(self) -> bool:
        # A panorama is left to Pillow, which computes the crop alone, and so is what drafting has rounded up, since
        # the kernel takes no part of a pixel.
        (new_w, new_h), (left, top, right, bottom) = self.new_size, self.crop
        cropped_away = new_w * new_h > 2 * (right - left) * (bottom - top)
        return not cropped_away and self.extent == self.size and min(self.scale) < 2 * _REDUCING_GAP


def _resized(image: Image.Image | Pixels, plan: _Plan, interpolation: str) -> Pixels:
    # PyTorch's kernel for 8-bit pixels is three times as fast as Pillow's, and gives the same picture but for the last
    # bit (worst cosine 0.99997). It is used where the process has torch already, never imported for it.
    # Where another thread is just importing it, that is waited for.
    torch = importlib.import_module("torch") if "torch" in sys.modules else None
    (new_w, new_h), (left, top, right, bottom) = plan.new_size, plan.crop
    if torch is None or not plan.suits_kernel:
        picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
        method = Image.Resampling.BILINEAR if interpolation == "bilinear" else Image.Resampling.BICUBIC
        (width, height), (across, down) = plan.extent, plan.scale
        box = (left * across, top * down, min(right * across, width), min(bottom * down, height))
        return np.asarray(picture.resize((right - left, bottom - top), method, box, _REDUCING_GAP))
    if isinstance(image, Image.Image):
        # A copy: torch warns of what cannot be written to, and Pillow's pixels cannot.
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(image.height, image.width, 3)
    else:
        pixels = torch.from_numpy(np.require(image, requirements=["W"]))
    resized = torch.nn.functional.interpolate(
        pixels[None].permute(0, 3, 1, 2), size=(new_h, new_w), mode=interpolation, antialias=True
    )
    result: Pixels = resized[0, :, top:bottom, left:right].permute(1, 2, 0).numpy()
    return result


def _size(image: Image.Image | Pixels) -> tuple[int, int]:
    return image.size if isinstance(image, Image.Image) else (image.shape[1], image.shape[0])


def _channels(values: Any) -> tuple[float, float, float]:
    """Three numbers, one per channel, from three or from one for all."""
    red, green, blue = values if isinstance(values, (list, tuple)) else (values,) * 3
    return float(red), float(green), float(blue)
