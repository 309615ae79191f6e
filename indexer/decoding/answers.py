"""What a process that decodes answered, taken as what a stranger says: every type and bound is checked here.

The bounds are those of a sound catalog (`search.catalog.soundness`), so that nothing else comes in from there.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from indexer.decoding.channel import Buffer
from indexer.exif import LONGEST_TEXT, UNPRINTABLE, ExifData
from search.catalog.changes import Look
from search.errors import PhotoError

_FORMATS = frozenset({"JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIC"})
_MOST_PIXELS_A_SIDE = 2**31 - 1
_MOST_HASH = 2**63 - 1
_PREVIEW = re.compile(r"[0-9a-f]{72}")
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)([+-](?:0\d|1[0-4]):[0-5]\d)?", re.ASCII)


@dataclass(frozen=True)
class Answer:
    """What came of one photo: the fields that the task gives, and a buffer, good until the worker is asked again."""

    fields: dict[str, Any]
    payload: Buffer


@dataclass(frozen=True)
class MeasuredPhoto:
    """What indexing wants to know of a photo.

    Attributes:
        full_size: width and height of the upright original, in pixels.
        pixels: uint8[h, w, 3], upright: at the model's size where `ready`, else as large as they were decoded. They are
            the worker's, and good until it is asked again.
    """

    full_size: tuple[int, int]
    format: str
    exif: ExifData
    flatness: float
    look: Look
    ready: bool
    pixels: npt.NDArray[np.uint8]


def measured_photo(answer: Answer) -> MeasuredPhoto | PhotoError:
    """The answer to the task `measured`, or the error of one that cannot be."""
    try:
        fields = answer.fields
        width, height = size_of(answer)
        full_width, full_height = fields["full_size"]
        return MeasuredPhoto(
            full_size=(_side(full_width), _side(full_height)),
            format=_one_of(fields["format"], _FORMATS),
            exif=_exif(fields["exif"]),
            flatness=_number(fields["flatness"], 0, 1),
            look=Look(bytes.fromhex(_text(fields["preview"], _PREVIEW)), _whole(fields["perceptual_hash"], _MOST_HASH)),
            ready=fields["ready"] is True,
            pixels=np.frombuffer(answer.payload, np.uint8).reshape(height, width, 3),
        )
    except (PhotoError, ValueError, TypeError, LookupError):
        return _nonsense()


def size_of(answer: Answer) -> tuple[int, int]:
    """Width and height of the RGB pixels that an answer has. Raises `PhotoError` where it has others."""
    match answer.fields.get("size"):
        case [int(width), int(height)] if min(width, height) > 0 and len(answer.payload) == 3 * width * height:
            return width, height
    raise _nonsense()


def _exif(said: dict[str, Any]) -> ExifData:
    exif = ExifData(**said)
    if exif.taken_at is not None:
        found = _MOMENT.fullmatch(_text(exif.taken_at))
        if found is None:
            raise _nonsense()
        datetime.fromisoformat(found[1])  # which refuses the dates that no calendar has
    for text in (exif.camera, exif.lens):
        if text is not None and not 0 < len(_text(text)) <= LONGEST_TEXT:
            raise _nonsense()
    for degrees, most in ((exif.latitude, 90), (exif.longitude, 180)):
        if degrees is not None:
            _number(degrees, -most, most)
    if (exif.latitude is None) != (exif.longitude is None):
        raise _nonsense()
    _whole(exif.orientation, 8, 1)
    return exif


def _side(value: object) -> int:
    return _whole(value, _MOST_PIXELS_A_SIDE, 1)


def _whole(value: object, most: int, least: int = 0) -> int:
    if type(value) is not int or not least <= value <= most:
        raise _nonsense()
    return value


def _number(value: object, least: float, most: float) -> float:
    # What is no number (NaN) is in no bounds.
    if type(value) not in (int, float) or not least <= value <= most:  # type: ignore[operator]
        raise _nonsense()
    return float(value)  # type: ignore[arg-type]


def _text(value: object, pattern: re.Pattern[str] | None = None) -> str:
    """A text as EXIF is read: one that UTF-8 can hold, without control characters."""
    if not isinstance(value, str) or UNPRINTABLE.search(value) or (pattern and not pattern.fullmatch(value)):
        raise _nonsense()
    return value


def _one_of(value: object, some: frozenset[str]) -> str:
    if not isinstance(value, str) or value not in some:
        raise _nonsense()
    return value


def sentence(value: object) -> str:
    """What a process says is wrong with a photo, as one line that UTF-8 can hold."""
    return " ".join(str(value)[:300].encode("utf-8", "replace").decode().split()) or "it cannot be decoded"


def seconds(value: object) -> float:
    """Processor time that an answer has taken, as far as that can be."""
    number = float(value) if isinstance(value, int | float) else 0.0
    return number if math.isfinite(number) and 0 <= number <= 10**6 else 0.0


def _nonsense() -> PhotoError:
    # A new one each time: one that is raised keeps what the frames hold that it has passed.
    return PhotoError("decoding it crashed (it answered nonsense)")
