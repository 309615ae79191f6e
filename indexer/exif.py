"""What a camera wrote beside the pixels: when, with what, and where a photo was taken.

EXIF is written by thousands of devices and programs, and much of it is wrong: blank dates, doubled makers,
fractions over zero. Whatever cannot be believed is left out, so that a wrong fact never reaches the catalog.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from PIL import ExifTags, Image

_Tag = ExifTags.Base
LONGEST_TEXT = 200
"""Characters of a camera's or lens's name that are kept."""
_DATE = re.compile(r"(\d{4})[:/.-](\d\d?)[:/.-](\d\d?)[ T](\d\d?):(\d\d)(?::(\d\d))?")
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)")
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]+")
"""What is never part of such a name."""

# A date counts for more the closer it stands to the moment of the exposure.
_DATES = (
    (_Tag.DateTimeOriginal, _Tag.OffsetTimeOriginal),
    (_Tag.DateTimeDigitized, _Tag.OffsetTimeDigitized),
    (_Tag.DateTime, _Tag.OffsetTime),
)


@dataclass(frozen=True)
class ExifData:
    """The facts that Sightline keeps; `None` stands for absent and for unbelievable alike.

    `taken_at` is ISO 8601 in the camera's local time, to the second, and with the offset from UTC where the
    camera recorded one ("2021-06-30T18:04:11+02:00"). `latitude` and `longitude` are decimal degrees (WGS
    84), south and west negative, given together or not at all. `orientation` is EXIF's: 1 is upright, 2 to 8
    say how the stored pixels must be flipped or turned to stand upright.
    """

    taken_at: str | None = None
    camera: str | None = None
    lens: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    orientation: int = 1


NO_EXIF = ExifData()


def read_exif(image: Image.Image) -> ExifData:
    """The EXIF of a picture that Pillow opened. Never raises: what cannot be parsed is absent."""
    try:
        exif = image.getexif()
        main: dict[int, Any] = {tag: _get(exif, tag) for tag in (*_DATES_IN_MAIN, *_TEXTS_IN_MAIN)}
        orientation = _get(exif, _Tag.Orientation)
    except Exception:
        return NO_EXIF
    details = {**main, **_directory(exif, ExifTags.IFD.Exif)}
    latitude, longitude = _position(_directory(exif, ExifTags.IFD.GPSInfo))
    return ExifData(
        taken_at=_taken_at(details),
        camera=_camera(_text(main[_Tag.Make]), _text(main[_Tag.Model])),
        lens=_text(details.get(_Tag.LensModel)),
        latitude=latitude,
        longitude=longitude,
        orientation=orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1,
    )


# Some programs write the dates into the main directory alone, where the standard wants only DateTime.
_DATES_IN_MAIN = tuple(tag for pair in _DATES for tag in pair)
_TEXTS_IN_MAIN = (_Tag.Make, _Tag.Model, _Tag.LensModel)


def _get(exif: Image.Exif, tag: int) -> Any:
    """One value; a value that cannot be decoded must not cost the others."""
    try:
        return exif.get(tag)
    except Exception:
        return None


def _directory(exif: Image.Exif, which: int) -> dict[int, Any]:
    """One of EXIF's sub-directories; empty where it is absent or cannot be parsed."""
    try:
        return dict(exif.get_ifd(which))
    except Exception:
        return {}


def _text(value: object) -> str | None:
    """Printable text of at most 200 characters, or None where nothing is left that a reader could use."""
    if isinstance(value, str):
        # Pillow reads ASCII fields as Latin-1, but many programs write UTF-8 there.
        value = value[: 4 * LONGEST_TEXT]
        text = value if value.isascii() else _utf8_or(value.encode("latin-1", "replace"), value)
    elif isinstance(value, bytes):
        value = value[: 4 * LONGEST_TEXT]
        text = _utf8_or(value, value.decode("latin-1"))
    else:
        return None
    # What follows the first NUL is left over from a longer text.
    text = text.lstrip("\0 ").partition("\0")[0]
    text = " ".join(UNPRINTABLE.sub(" ", text).split())[:LONGEST_TEXT].strip()
    return text if any(character.isalnum() for character in text) else None


def _utf8_or(raw: bytes, otherwise: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return otherwise


def _camera(make: str | None, model: str | None) -> str | None:
    """Maker and model as one name, without the maker twice ("Canon" + "Canon EOS 80D" -> "Canon EOS 80D")."""
    if make is None or model is None:
        return model or make
    # "NIKON CORPORATION" and "NIKON D750" share only the first word.
    first = make.split()[0].casefold()
    doubled = model.casefold().startswith((make.casefold(), first + " ", first + "-"))
    return model if doubled else f"{make} {model}"[:LONGEST_TEXT]


def _taken_at(details: Mapping[int, Any]) -> str | None:
    for date_tag, offset_tag in _DATES:
        moment = _moment(_text(details.get(date_tag)))
        if moment is not None:
            offset = _offset(_text(details.get(offset_tag))) or _offset(_text(details.get(_Tag.OffsetTime)))
            return moment + (offset or "")
    return None


def _moment(text: str | None) -> str | None:
    found = _DATE.match(text or "")
    if found is None:
        return None
    try:
        # The pattern's groups are digits; `datetime` refuses the dates that no calendar has.
        year, month, day, hour, minute, second = (int(part or 0) for part in found.groups())
        return datetime(year, month, day, hour, minute, second).isoformat()
    except ValueError:
        return None


def _offset(text: str | None) -> str | None:
    if text in ("Z", "z"):
        return "+00:00"
    found = _OFFSET.fullmatch(text or "")
    if found is None:
        return None
    sign, hours, minutes = found.groups()
    # The widest offsets in use are -12:00 and +14:00.
    return f"{sign}{hours}:{minutes}" if int(hours) <= 14 and int(minutes) < 60 else None


def _position(gps: Mapping[int, Any]) -> tuple[float | None, float | None]:
    latitude = _degrees(gps.get(ExifTags.GPS.GPSLatitude), gps.get(ExifTags.GPS.GPSLatitudeRef), "NS", 90)
    longitude = _degrees(gps.get(ExifTags.GPS.GPSLongitude), gps.get(ExifTags.GPS.GPSLongitudeRef), "EW", 180)
    if latitude is None or longitude is None:
        return None, None
    return latitude, longitude


def _degrees(value: object, reference: object, letters: str, most: int) -> float | None:
    """Degrees, minutes and seconds as decimal degrees; the second of `letters` makes them negative."""
    name = (_text(reference) or "")[:1].upper()
    if not name or name not in letters:
        return None
    parts = value if isinstance(value, tuple | list) else (value,)
    try:
        numbers = [float(part) for part in parts[:3]]
        degrees = sum((number / (1, 60, 3600)[power] for power, number in enumerate(numbers)), 0.0)
    except (TypeError, ValueError, ArithmeticError):
        return None
    if not numbers or not math.isfinite(degrees) or min(numbers) < 0 or degrees > most:
        return None
    # Seven decimals are a centimetre: more would only be the noise of the division.
    return round(-degrees if name == letters[1] else degrees, 7)
