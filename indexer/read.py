"""Opening photos: from the bytes of a file to an upright RGB picture, whatever the format and however broken.

Pillow does the decoding. Around it stands what an indexer of strangers' files needs: only the formats of this
page ever reach a parser, the number of pixels is checked before any is decoded, and every failure comes out
as `PhotoError` with one sentence.

    >>> decoded = decode(Path("beach.jpg").read_bytes(), draft=(224, 224))
    >>> decoded.image.size, decoded.width, decoded.format, decoded.exif.camera
    ((252, 378), 3024, 'JPEG', 'Apple iPhone 12')

Embedded colour profiles are not applied: pixels are taken to be sRGB, as the models' own training data was.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from indexer.exif import NO_EXIF, ExifData, read_exif
from indexer.files import HEAD, file_content
from indexer.formats import is_cut_short, recognise, webp_canvas
from indexer.pixels import Room, decoding_room, default_max_pixels, to_rgb
from search.errors import PhotoError, PhotoForNowError, PhotoMemoryError

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

# Odd files make Pillow warn and log; the catalog's sentence for each failure is the report that counts. Once
# for the process, and only for Pillow: `warnings.catch_warnings` for each photo would not be safe in threads.
warnings.filterwarnings("ignore", module=r"(PIL|pillow_heif)\b")
logging.getLogger("PIL").setLevel(logging.CRITICAL)

DRAFT_ALLOWANCE = 8
"""Whatever decodes row by row into a drafted (reduced) picture never holds the full size in memory, so it may be larger
than the limit; this many times, because time grows with the full size all the same."""
_EXIF_KEYS = ("exif", "xmp", "Raw profile type exif", "XML:com.adobe.xmp")
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class DecodedPhoto:
    """A photo as the indexer uses it.

    `image` is RGB and upright, and smaller than the original where drafting was asked for and possible;
    `width` and `height` are the upright original's, in pixels. `format` is one of JPEG, PNG, WEBP, GIF, TIFF,
    BMP, AVIF and HEIC.
    """

    image: Image.Image
    width: int
    height: int
    format: str
    exif: ExifData


def read_photo(
    source: bytes | BinaryIO | str | os.PathLike[str],
    *,
    draft: tuple[int, int] | None = None,
    max_pixels: int | None = None,
) -> Image.Image:
    """The picture of a file, RGB and upright; `bytes` are a file's content, never a path.

    Arguments and errors are those of `decode`; a path that cannot be opened raises `PhotoError` too.
    """
    if isinstance(source, str | os.PathLike):
        source = file_content(source)
    return decode(source, draft=draft, max_pixels=max_pixels).image


def decode(
    source: bytes | BinaryIO,
    *,
    draft: tuple[int, int] | None = None,
    max_pixels: int | None = None,
    room: Room | None = None,
) -> DecodedPhoto:
    """Decode the content of a photo file, in this process: `indexer.decoding` does so where a crash costs no more than
    the photo.

    `draft` is a (width, height) in pixels that is all the caller needs: a JPEG may then be decoded at 1/2,
    1/4 or 1/8 of its size, never below `draft` in either direction, in a fraction of the time. `max_pixels`
    is the largest picture to decode, by default `default_max_pixels()`. `room` is the memory that pictures share which
    are decoded side by side, by default that of this process.

    Raises `PhotoError`, and nothing else, when the picture cannot be had; its sentence does not name the
    file.
    """
    with _photo_errors() as stage:
        file = io.BytesIO(source) if isinstance(source, bytes) else _seekable(source)
        file.seek(0)
        head = file.read(HEAD)
        if not head:
            raise PhotoError("it is empty")
        name, opener = recognise(head)
        stage.format, stage.file = name, file
        limit = default_max_pixels() if max_pixels is None else max_pixels
        if name == "WEBP":
            # Opening a WebP already allocates its canvas, so its size is checked in the header.
            _check_pixels(*webp_canvas(head), limit)
        file.seek(0)
        image = opener(file)
        return _decode(image, name, draft, limit, room)


def _decode(image: ImageFile, name: str, draft: tuple[int, int] | None, limit: int, room: Room | None) -> DecodedPhoto:
    width, height = image.size
    exif = NO_EXIF
    jpeg = image if isinstance(image, JpegImageFile) else None
    # A JPEG's orientation says which way round to draft; a TIFF is turned by Pillow when it loads, which
    # strikes the orientation out. The others may have their EXIF behind the pixels.
    if _has_exif(image) and (jpeg is not None or name == "TIFF"):
        exif = read_exif(image)
    if jpeg is not None and draft is not None:
        jpeg.draft(None, draft if exif.orientation < 5 else (draft[1], draft[0]))
    if jpeg is not None and jpeg.size != (width, height) and decodes_by_rows(jpeg):
        _check_pixels(width, height, limit * DRAFT_ALLOWANCE)
        _check_pixels(*jpeg.size, limit)
    else:
        _check_pixels(width, height, limit)
    with (room or decoding_room()).taken(image.width * image.height):
        return _load(image, name, exif, width, height)


def _load(image: ImageFile, name: str, exif: ExifData, width: int, height: int) -> DecodedPhoto:
    jpeg = isinstance(image, JpegImageFile)
    image.load()
    if exif is NO_EXIF and _has_exif(image) and not jpeg and name != "TIFF":
        exif = read_exif(image)
    orientation = 1 if name == "TIFF" else exif.orientation
    upright, full_size = turned(to_rgb(image), (width, height), orientation)
    if name == "HEIC" and orientation not in _UPRIGHT:
        full_size = upright.size
    return DecodedPhoto(upright, *full_size, name, exif)


def turned(image: Image.Image, full_size: tuple[int, int], orientation: int) -> tuple[Image.Image, tuple[int, int]]:
    """An RGB picture turned upright, as EXIF's `orientation` says, and the width and height of the whole photo then."""
    turn = _UPRIGHT.get(orientation)
    if turn is None:
        return image, full_size
    return image.transpose(turn), full_size[::-1] if orientation >= 5 else full_size


def _has_exif(image: Image.Image) -> bool:
    return any(key in image.info for key in _EXIF_KEYS) or hasattr(image, "tag_v2")


def decodes_by_rows(jpeg: JpegImageFile) -> bool:
    """Whether libjpeg decodes the file as it comes, rather than holding every coefficient of every scan."""
    assert jpeg.fp is not None
    if "progressive" in jpeg.info:
        return False
    # Pillow has stopped behind the header of the first scan; a sequential JPEG has one scan with all its
    # layers.
    length = 6 + 2 * jpeg.layers
    behind = jpeg.fp.tell()
    jpeg.fp.seek(behind - length - 2)
    header = jpeg.fp.read(length + 2)
    jpeg.fp.seek(behind)
    return header[:5] == bytes((0xFF, 0xDA, 0, length, jpeg.layers))


def _check_pixels(width: int, height: int, limit: int) -> None:
    if width * height > limit:
        raise PhotoError(
            f"it has {_megapixels(width * height)} megapixels ({width} x {height}), "
            f"more than the limit of {_megapixels(limit)}"
        )


def _megapixels(pixels: int) -> str:
    return f"{pixels / 1e6:.0f}" if pixels >= 10e6 else f"{pixels / 1e6:.3g}"


def _seekable(file: BinaryIO) -> BinaryIO:
    return file if file.seekable() else io.BytesIO(file.read())


@dataclass
class _Stage:
    """How far a decoding has come, for the sentence that says why it ended."""

    format: str = ""
    file: BinaryIO | None = None


@contextlib.contextmanager
def _photo_errors() -> Iterator[_Stage]:
    """Whatever is raised inside comes out as `PhotoError`: a hostile file can make parsers raise anything."""
    stage = _Stage()
    try:
        yield stage
    except PhotoError:
        raise
    except MemoryError as error:
        raise PhotoMemoryError("it needs more memory than there is") from error
    except Image.DecompressionBombError as error:
        raise PhotoError("it has more pixels than it is safe to decode") from error
    except Exception as error:
        # A decoder that cannot be loaded, or an error that the system has numbered, is no fault of what is decoded.
        foreign = isinstance(error, ImportError) or (isinstance(error, OSError) and error.errno is not None)
        raise (PhotoForNowError if foreign else PhotoError)(_sentence(error, stage)) from error


def _sentence(error: Exception, stage: _Stage) -> str:
    detail = " ".join(str(error).split())[:100]
    words = detail.lower()
    ended = isinstance(error, EOFError) or "truncat" in words or "end of file" in words
    if ended or (stage.file is not None and is_cut_short(stage.file, stage.format)):
        return "it is truncated: the file ends before the picture does"
    if not stage.format:
        return f"it cannot be read ({detail})"
    detail = detail or type(error).__name__
    return f"it is damaged, or a kind of {stage.format} that cannot be read ({detail})"
