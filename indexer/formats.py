"""Which formats are read, how a file tells which one it is, and how each is opened.

The formats' own classes are called, not `Image.open`: no other parser can ever be reached, no registry or
limit of Pillow's is changed for the rest of the program, and each plugin is imported when its first file
comes.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from search.errors import PhotoError

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile


def _open_png(file: BinaryIO) -> ImageFile:
    from PIL.PngImagePlugin import PngImageFile

    return PngImageFile(file)


def _open_gif(file: BinaryIO) -> ImageFile:
    from PIL.GifImagePlugin import GifImageFile

    return GifImageFile(file)


def _open_webp(file: BinaryIO) -> ImageFile:
    from PIL.WebPImagePlugin import WebPImageFile

    return WebPImageFile(file)


def _open_tiff(file: BinaryIO) -> ImageFile:
    from PIL.TiffImagePlugin import TiffImageFile

    _silence_libtiff()
    return TiffImageFile(file)


@functools.cache
def _silence_libtiff() -> None:
    """Stop libtiff from writing its complaints straight to the terminal; its verdict comes as an exception.

    Its handlers are reached through Pillow's extension module. A build that hides them stays noisy, no worse.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        core: Any = Image.__dict__["core"]
        library = ctypes.CDLL(core.__file__)
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)


def _open_bmp(file: BinaryIO) -> ImageFile:
    from PIL.BmpImagePlugin import BmpImageFile

    return BmpImageFile(file)


def _open_avif(file: BinaryIO) -> ImageFile:
    from PIL.AvifImagePlugin import AvifImageFile

    return AvifImageFile(file)


def _open_heic(file: BinaryIO) -> ImageFile:
    from pillow_heif import HeifImageFile

    plugin: Callable[[BinaryIO], ImageFile] = HeifImageFile
    return plugin(file)


Opener = Callable[[BinaryIO], "ImageFile"]
_MAGIC: tuple[tuple[bytes, str, Opener], ...] = (
    # MPO files (two views in one) open as the JPEG that they begin with.
    (b"\xff\xd8\xff", "JPEG", JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", "PNG", _open_png),
    (b"GIF87a", "GIF", _open_gif),
    (b"GIF89a", "GIF", _open_gif),
    (b"II*\0", "TIFF", _open_tiff),
    (b"MM\0*", "TIFF", _open_tiff),
    (b"II+\0", "TIFF", _open_tiff),
    (b"MM\0+", "TIFF", _open_tiff),
    (b"BM", "BMP", _open_bmp),
)
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_ANY_HEIF_BRANDS = {b"mif1", b"mif2", b"msf1"}


def recognise(head: bytes) -> tuple[str, Opener]:
    """The format and how to open it, by the file's first bytes."""
    for magic, name, opener in _MAGIC:
        if head.startswith(magic):
            return name, opener
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP", _open_webp
    if head[4:8] == b"ftyp":
        # The major brand, then the compatible ones; the box's length says how many.
        end = min(int.from_bytes(head[:4], "big"), len(head))
        brands = {head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))}
        if head[8:12] in _AVIF_BRANDS or (brands & _AVIF_BRANDS and head[8:12] in _ANY_HEIF_BRANDS):
            return "AVIF", _open_avif
        if head[8:12] in _HEIC_BRANDS | _ANY_HEIF_BRANDS:
            return "HEIC", _open_heic
    raise PhotoError("it is not a picture in a known format")


def webp_canvas(head: bytes) -> tuple[int, int]:
    """Width and height from a WebP's first chunk (RFC 9649); (0, 0) when it is none that could be decoded."""
    chunk, data = head[12:16], head[20:30]
    if chunk == b"VP8X":
        return int.from_bytes(data[4:7], "little") + 1, int.from_bytes(data[7:10], "little") + 1
    if chunk == b"VP8L":
        bits = int.from_bytes(data[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 ":
        return int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF
    return 0, 0


def is_cut_short(file: BinaryIO, name: str) -> bool:
    """Whether a container's own lengths go beyond the file: not every decoder tells why it refuses one."""
    if name not in ("WEBP", "AVIF", "HEIC"):
        return False
    try:
        end = file.seek(0, io.SEEK_END)
        file.seek(0)
        head = file.read(16)
        if name == "WEBP":
            return end < 12 or end < int.from_bytes(head[4:8], "little") + 8
        # ISO base media: boxes one after the other, each with its length (0: to the end, 1: a 64-bit one).
        at = 0
        for _ in range(1000):
            file.seek(at)
            head = file.read(16)
            size = int.from_bytes(head[:4], "big")
            at += int.from_bytes(head[8:16], "big") if size == 1 else size
            if size == 0 or at >= end:
                return at > end
        return False
    except (OSError, ValueError):
        return False
