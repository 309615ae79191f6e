"""Photos at full size, as browsers show them: the file itself, or an upright JPEG made from it."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, BinaryIO, Final

from PIL import ExifTags, Image

from indexer import files
from indexer.exif import read_exif
from indexer.formats import recognise
from search.errors import PhotoError

if TYPE_CHECKING:
    from indexer.decoding.decoders import Decoders

SHOWN_BY_BROWSERS: Final = frozenset({"JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"})

_QUALITY = 90
_LONGEST = 65_500
"""Pixels on a side; a JPEG cannot have more."""


def shown_as_it_is(source_path: str | bytes, format: str, decoders: Decoders) -> bool:
    """Whether every browser shows the file, and upright.

    They all turn a JPEG as its EXIF says and an AVIF as its container says; of PNG and WebP not all heed the EXIF, and
    none of any format heeds an orientation in XMP. Reads no pixels. Raises `PhotoError` where it cannot be read.
    """
    if format not in SHOWN_BY_BROWSERS:
        return False
    return format in ("GIF", "BMP", "AVIF") or decoders.is_upright(source_path, format)


def is_upright(source_path: str | bytes, format: str) -> bool:
    """Whether browsers show a JPEG, PNG or WebP upright, looked up in this process. Raises `PhotoError`."""
    try:
        with files.opened(source_path) as (file, _):
            image = recognise(file.read(64))[1]
            file.seek(0)
            opened = image(file)
            turned = read_exif(opened).orientation != 1
            if format == "JPEG":
                return not turned or _turned_by_exif(opened)
            return not turned and not (format == "PNG" and _has_exif_behind(file))
    except PhotoError:
        raise
    except OSError as error:
        raise PhotoError(error.strerror or "it is damaged") from error
    except Exception as error:  # a file that was indexed once; whatever parsers raise of it now
        raise PhotoError("it is damaged") from error


def _turned_by_exif(opened: Image.Image) -> bool:
    """Whether the EXIF itself has an orientation, which Pillow takes from XMP where it has none."""
    exif = Image.Exif()
    exif.load(opened.info.get("exif", b""))
    return ExifTags.Base.Orientation in exif


def _has_exif_behind(png: BinaryIO) -> bool:
    """Whether a PNG has EXIF behind its pixels, where it is found only when they are decoded."""
    png.seek(8)
    pixels = False
    while len(head := png.read(8)) == 8:
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind == b"eXIf" and pixels:
            return True
        pixels = pixels or kind == b"IDAT"
        png.seek(length + 4, os.SEEK_CUR)
    return False


def full_picture(photo_id: str, source_path: str | bytes, decoders: Decoders) -> bytes:
    """The photo as an upright JPEG of its full size, whatever its format.

    What is transparent is white, as in thumbnails. It has the photo's colour profile and no EXIF. Raises `PhotoError`
    when the photo cannot be read.
    """
    with files.content_of(photo_id, source_path) as content, decoders.failures.trying(photo_id):
        return decoders.full_picture(content)


def jpeg(image: Image.Image) -> bytes:
    """The content of a JPEG file of an upright RGB picture. Raises `PhotoError` where there can be none."""
    image.thumbnail((_LONGEST, _LONGEST))
    profile = image.info.get("icc_profile") or b""
    content = io.BytesIO()
    # A profile of other channels (CMYK, grey) does not fit to what was made RGB.
    fits = profile[16:20] == b"RGB "
    try:
        image.save(content, "JPEG", quality=_QUALITY, exif=b"", xmp=b"", icc_profile=profile if fits else None)
    except (OSError, ValueError) as error:
        raise PhotoError("it cannot be converted") from error
    return content.getvalue()
