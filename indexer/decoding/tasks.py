"""What a process that decodes does with a photo: each function here is a task, by its name.

A task takes a file's content and the room that pictures share, and keywords that JSON can hold; it returns fields that
JSON can hold, and a buffer. It raises `PhotoError` where the photo is at fault.
"""

from __future__ import annotations

import math
import os
from typing import Any

from indexer import pictures, thumbnails
from indexer.look import preview_and_hash
from indexer.pixels import Room, flatness
from indexer.read import DecodedPhoto, decode
from search.models.preprocess import Preprocess

Outcome = tuple[dict[str, Any], bytes]


def measured(content: bytes, room: Room, *, max_pixels: int, preprocess: dict[str, Any]) -> Outcome:
    """What indexing wants to know of a photo, and pixels for the model: at its size where `ready`, else as they were
    decoded, for PyTorch's kernel, which the process that embeds may have."""
    prepare = preprocess_of(preprocess)
    decoded = decode(content, draft=prepare.draft_size, max_pixels=max_pixels, room=room)
    full_size = (decoded.width, decoded.height)
    return measures(decoded, prepare, ready=not prepare.suits_kernel(decoded.image.size, full_size))


def preprocess_of(fields: dict[str, Any]) -> Preprocess:
    """From its fields, as JSON has brought them here."""
    given: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in fields.items()}
    return Preprocess(**given)


def measures(decoded: DecodedPhoto, prepare: Preprocess, *, ready: bool) -> Outcome:
    """What is measured of a photo that is decoded, and its pixels: at the model's size where they are to be `ready`."""
    image, full_size = decoded.image, (decoded.width, decoded.height)
    preview, perceptual_hash = preview_and_hash(image)
    pixels = prepare(image, full_size).tobytes() if ready else image.tobytes()
    return {
        "full_size": full_size,
        "format": decoded.format,
        "exif": vars(decoded.exif),
        "flatness": round(flatness(image), 3),
        "preview": preview.hex(),
        "perceptual_hash": perceptual_hash,
        "ready": ready,
        "size": prepare.size[::-1] if ready else image.size,
    }, pixels


def picture(
    content: bytes,
    room: Room,
    *,
    max_pixels: int,
    draft: tuple[int, int] | None = None,
    box: tuple[float, float, float, float] | None = None,
    side: int | None = None,
    pixels: int | None = None,
) -> Outcome:
    """The picture, upright RGB, or of it a square around the `box` (left, top, right and bottom as fractions). Where
    `side` is given, it is reduced as far as its shorter side stays that long, or it keeps `pixels`."""
    image = decode(content, draft=draft, max_pixels=max_pixels, room=room).image
    if box is not None:
        image = image.crop(_square(box, *image.size))
    if side is not None:
        # Means of whole pixels, as a JPEG's own reduction takes them.
        factor = max(min(image.size) // side, math.isqrt(image.width * image.height // (pixels or 16 * side * side)))
        image = image.reduce(factor) if factor > 1 else image
    return {"size": image.size}, image.tobytes()


def thumbnail(content: bytes, room: Room, *, max_pixels: int, longest: int) -> Outcome:
    """A thumbnail, as the content of a WebP file."""
    image = decode(content, draft=(longest, longest), max_pixels=max_pixels, room=room).image
    return {}, thumbnails.webp(image, longest)


def full_picture(content: bytes, room: Room, *, max_pixels: int) -> Outcome:
    """The photo at full size, as the content of a JPEG file."""
    return {}, pictures.jpeg(decode(content, max_pixels=max_pixels, room=room).image)


def is_upright(content: bytes, room: Room, *, path: str, format: str) -> Outcome:
    """Whether browsers show the file at `path` upright; it is read no further than that takes."""
    return {"upright": pictures.is_upright(os.fsencode(path), format)}, b""


def _square(box: tuple[float, float, float, float], width: int, height: int) -> tuple[int, int, int, int]:
    """`box` in pixels, its shorter side as long as the longer one, or as the picture is, and moved into the picture."""
    left, top, right, bottom = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    side = max(right - left, bottom - top)

    def around(first: float, last: float, whole: int) -> tuple[int, int]:
        length = max(last - first, min(side, whole))
        begin = min(max(0.0, (first + last - length) / 2), whole - length)
        return round(begin), max(round(begin) + 1, round(begin + length))

    (left_, right_), (top_, bottom_) = around(left, right, width), around(top, bottom, height)
    return left_, top_, right_, bottom_
