"""Pixels: how many may be decoded, and how any of Pillow's modes becomes RGB."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

_BYTES_PER_PIXEL = 14  # the decoded picture with its alpha, its RGB, and one more while it is turned
_SHARE = 4  # of the memory that is free: the model and the files themselves need room too
_FEWEST, _MOST = 50_000_000, 500_000_000
_CGROUP = Path("/sys/fs/cgroup")


@functools.cache
def default_max_pixels() -> int:
    """The most pixels that one photo may have here: between 50 and 500 million, by the memory that is free.

    Worked out once for the process.
    """
    return max(_FEWEST, min(_MOST, free_memory() // _SHARE // _BYTES_PER_PIXEL))


def free_memory() -> int:
    """Bytes that this process may still take; inside a container its own limit counts, where it is lower."""
    import psutil  # type: ignore[import-untyped, unused-ignore]

    return min([int(psutil.virtual_memory().available), *_cgroup_rooms(_CGROUP)])


class Room(Protocol):
    """The memory that pictures share which are decoded side by side."""

    def taken(self, pixels: int) -> contextlib.AbstractContextManager[None]:
        """Hold room for a picture of so many pixels."""


class DecodingRoom:
    """The memory that pictures decoded side by side share: one waits until it fits in beside the others.

    What a caller keeps of a decoded picture afterwards is not counted. Files share theirs in the same way, in bytes.
    """

    def __init__(self, pixels: int) -> None:
        """Room for so many pixels at a time; a larger picture is let in alone."""
        self._all = pixels
        self._taken = 0
        self._left = threading.Condition()

    @contextlib.contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Hold room for a picture of so many pixels."""
        with self._left:
            self._left.wait_for(lambda: not self._taken or self._taken + pixels <= self._all)
            self._taken += pixels
        try:
            yield
        finally:
            with self._left:
                self._taken -= pixels
                self._left.notify_all()


@functools.cache
def decoding_room() -> DecodingRoom:
    """The room of this process."""
    return DecodingRoom(default_max_pixels())


def _cgroup_rooms(root: Path) -> list[int]:
    """What the control group (version 2, or 1) leaves of its memory limit; empty where there is none.

    Cache that the kernel would give back at once counts as free.
    """
    files = (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "memory/memory.stat",
            "total_inactive_file",
        ),
    )
    for limit, used, stats, key in files:
        try:
            room = int((root / limit).read_text()) - int((root / used).read_text())
            values = dict(line.split() for line in (root / stats).read_text().splitlines())
            return [max(0, room + int(values.get(key, 0)))]
        except (OSError, ValueError):
            continue  # no such file, or "max": no limit
    return []


def to_rgb(image: Image.Image) -> Image.Image:
    """A loaded picture as RGB: alpha composed on white, deep grey scaled to 8 bits; itself if it is RGB."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return _from_deep_grey(image).convert("RGB")
    if image.has_transparency_data:
        return _on_white(image)
    return image.convert("RGB")


def flatness(image: Image.Image) -> float:
    """How much of an RGB picture is of one colour with what lies beside it, 0 to 1: little of a photo, most of a screen
    or of a drawing. It is the share of neighbours that are equal, of at most 64 x 64 pixels taken evenly."""
    width, height = min(64, image.width), min(64, image.height)
    small = image.resize((width, height), Image.Resampling.NEAREST)
    # A pixel as one number: four times as fast as to compare three channels and then ask whether all are equal.
    pixels = np.frombuffer(small.convert("RGBA").tobytes(), np.uint32).reshape(height, width)
    equal = np.count_nonzero(pixels[:, 1:] == pixels[:, :-1]) + np.count_nonzero(pixels[1:] == pixels[:-1])
    neighbours = (width - 1) * height + width * (height - 1)
    return int(equal) / neighbours if neighbours else 1.0


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":
        image = image.convert("LA")
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    alpha = rgba.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return rgba.convert("RGB")
    page = Image.new("RGB", rgba.size, "white")
    page.paste(rgba, mask=alpha)
    return page


def _from_deep_grey(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit and floating-point grey as 8-bit grey.

    A PNG's 16 bits are always its full scale. Elsewhere (scanners, microscopes, depth maps) the samples may
    fill only 10, 12 or 14 bits, and the file does not say so: the smallest scale that holds the brightest is
    taken. Values that fit no such scale are stretched from the darkest to the brightest.
    """
    values: npt.NDArray[Any] = np.asarray(image)
    low, high = _range(values)
    if image.mode == "F" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif low >= 0 and high <= 65535:
        whole = image.format == "PNG"
        bits = 16 if whole else next(bits for bits in (8, 10, 12, 14, 16) if high < 2**bits)
        low, high = 0.0, 2.0**bits - 1
    grey = np.empty(values.shape, np.uint8)
    scale = 255.0 / (high - low) if high > low else 0.0
    for top in range(0, len(values), 256):  # a float copy of the whole would be large
        strip = (np.nan_to_num(values[top : top + 256], nan=low).astype(np.float64) - low) * scale
        grey[top : top + 256] = np.clip(strip + 0.5, 0, 255)
    return Image.fromarray(grey)


def _range(values: npt.NDArray[Any]) -> tuple[float, float]:
    """The smallest and the largest finite value; (0, 0) where there is none."""
    low, high = np.inf, -np.inf
    for top in range(0, len(values), 256):
        strip = values[top : top + 256]
        finite = strip[np.isfinite(strip)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return (low, high) if low <= high else (0.0, 0.0)
