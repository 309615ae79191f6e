"""What a process does that has JPEGs decoded by a GPU: by nvJPEG, as torchvision has it.

It is a process of its own, beside the one that embeds: what a file makes of the driver ends it alone, and neither does
nvJPEG write where the model's tensors lie. On GPUs with a hardware decoder it begins to write before earlier work is
done with that memory (pytorch/vision#9606), so that here nothing else may be under way when it begins.

The picture is made as much smaller on the GPU as libjpeg would have made it; all else is done to it as to any other
photo. With `cpu` for its place, torchvision's decoder for processors does the same.
"""

from __future__ import annotations

import functools
import io
import os
import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from indexer.decoding.tasks import Outcome, measures, preprocess_of
from indexer.exif import ExifData, read_exif
from indexer.pixels import Room
from indexer.read import DecodedPhoto, decode, decodes_by_rows, turned
from search.errors import PhotoForNowError
from search.models.preprocess import Preprocess

if TYPE_CHECKING:
    import torch

FAILED = 87
"""The exit status of a process whose GPU has failed, which nothing but another process mends."""
_FEWEST = 4_000_000
"""Pixels; smaller photos are quickly decoded by a processor."""
_MOST = 128_000_000
"""Pixels decoded together, at three bytes each; a larger photo is left to processors."""
_LONGEST_SIDE = 16_384
_SAMPLING = frozenset({(1, 1), (2, 1), (1, 2), (2, 2)})
"""How many samples of brightness across and down there may be for one of colour."""
_END = b"\xff\xd9"
_SAME = 4.0
"""How far a picture may be, on average, from what Pillow makes of the same JPEG, in levels."""
_CAMERAS = (4000, 3000)
_GRAIN = 6.0
_TILE = 256
_SIDE = 224
_TIMED = 2


class _Jpeg:
    """A JPEG that may go to the GPU, and what its header says."""

    def __init__(self, content: bytes, image: JpegImageFile) -> None:
        self.content = content
        self.size = image.size
        self.exif: ExifData = read_exif(image)


def begin(content: bytes, room: Room, *, place: str, saves: bool) -> Outcome:
    """Find out whether the device at `place` decodes JPEGs as Pillow does, and, where it is to be one that `saves`
    time, whether that takes less of a processor than to have libjpeg decode them at a reduced size, as elsewhere.

    Raises:
        PhotoForNowError: it does not.
    """
    try:
        small = _probe(128, 96)
        found = _decoded([small], place)[0].permute(1, 2, 0).cpu().numpy().astype(float)
        expected = np.asarray(Image.open(io.BytesIO(small)), float)
        if found.shape != expected.shape or np.abs(found - expected).mean() > _SAME:
            raise ValueError("it makes another picture of a JPEG")
        if saves:
            _check_saving(place)
    except Exception as error:  # whatever is missing
        raise PhotoForNowError(_first_line(error)) from error
    return {}, b""


def _check_saving(place: str) -> None:
    """Raises ValueError where it takes no less of a processor."""
    large = _probe(*_CAMERAS)
    jpeg = _Jpeg(large, JpegImageFile(io.BytesIO(large)))
    prepare = Preprocess((_SIDE, _SIDE), "shortest", "bicubic", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    _smaller([jpeg], prepare, place)  # the first takes longer
    began = time.process_time()
    _smaller([jpeg] * _TIMED, prepare, place)
    here = time.process_time() - began
    began = time.process_time()
    for _ in range(_TIMED):
        decode(large, draft=prepare.draft_size)
    elsewhere = time.process_time() - began
    if here >= elsewhere:
        raise ValueError(
            f"it takes a processor {here / _TIMED * 1e3:.0f} ms for a photo, which decodes one in "
            f"{elsewhere / _TIMED * 1e3:.0f} ms itself"
        )


def measured_together(
    content: bytes, room: Room, *, place: str, lengths: list[int], preprocess: dict[str, Any], max_pixels: int
) -> Outcome:
    """Of JPEGs, one behind the other in `content`, what `tasks.measured` gives of each: in the field `photos`, with
    None for those that are left to others, and their pixels one behind the other. `why` is what went wrong, if anything
    did."""
    prepare = preprocess_of(preprocess)
    jpegs: list[_Jpeg | None] = []
    at = 0
    for length in lengths:
        jpegs.append(_suiting(content[at : at + length], min(max_pixels, _MOST)))
        at += length
    smaller, why = _pictures([jpeg for jpeg in jpegs if jpeg is not None], prepare, place)
    photos: list[dict[str, Any] | None] = []
    pixels = []
    for jpeg in jpegs:
        image = None if jpeg is None else smaller.pop(0)
        if jpeg is None or image is None:
            photos.append(None)
            continue
        upright, full_size = turned(image, jpeg.size, jpeg.exif.orientation)
        fields, made = measures(DecodedPhoto(upright, *full_size, "JPEG", jpeg.exif), prepare, ready=True)
        photos.append(fields)
        pixels.append(made)
    return {"photos": photos, "why": why}, b"".join(pixels)


def _suiting(content: bytes, most: int) -> _Jpeg | None:
    """The JPEG, if it is large, and of the plain kind that cameras write: those alone are sure to come out as from
    libjpeg."""
    try:
        image = JpegImageFile(io.BytesIO(content))
        width, height = image.size
        luma, *chroma = [(across, down) for _, across, down, _ in image.layer]
        plain = (
            content.endswith(_END)  # nvJPEG does not tell that a file is cut short
            and image.mode == "RGB"
            and image.bits == 8
            and [layer[0] for layer in image.layer] == [1, 2, 3]
            and image.info.get("adobe_transform", 1) == 1
            and luma in _SAMPLING
            and chroma == [(1, 1), (1, 1)]
            and decodes_by_rows(image)
        )
    except Exception:  # what is wrong with it, others will say
        return None
    fits = _FEWEST <= width * height <= most and max(width, height) <= _LONGEST_SIDE
    return _Jpeg(content, image) if plain and fits else None


def _pictures(jpegs: list[_Jpeg], prepare: Preprocess, place: str) -> tuple[list[Image.Image | None], str]:
    """The pictures, as small as libjpeg would have made them, None for what the GPU refuses; and why it did."""
    found: list[Image.Image | None] = []
    why = ""
    while len(found) < len(jpegs):
        some = _together(jpegs[len(found) :])
        try:
            found += _smaller(some, prepare, place)
        except Exception as error:
            why = _first_line(error)
        else:
            continue
        # Outside the handler, which holds on to what failed: each alone, since it does not say which one it was, or
        # whether all of them were too large.
        _recover(place)
        for one in some:
            try:
                found += _smaller([one], prepare, place)
                continue
            except Exception as error:
                why = _first_line(error)
            found.append(None)
            _recover(place)
    return found, why


def _together(jpegs: list[_Jpeg]) -> list[_Jpeg]:
    """As many of the first as may be decoded at once; one at least."""
    pixels = 0
    for count, jpeg in enumerate(jpegs):
        pixels += jpeg.size[0] * jpeg.size[1]
        if count and pixels > _MOST:
            return jpegs[:count]
    return jpegs


def _smaller(jpegs: list[_Jpeg], prepare: Preprocess, place: str) -> list[Image.Image]:
    pictures = _decoded([jpeg.content for jpeg in jpegs], place)
    smaller = []
    for jpeg, picture in zip(jpegs, pictures, strict=True):
        if picture.shape[::-1] != (*jpeg.size, 3):
            raise ValueError("a picture has another size than its header says")
        smaller.append(_reduced(picture, _factor(jpeg, prepare)))
    return [Image.fromarray(one.permute(1, 2, 0).cpu().contiguous().numpy()) for one in smaller]


def _factor(jpeg: _Jpeg, prepare: Preprocess) -> int:
    """By how much `PIL.Image.Image.draft` would have libjpeg reduce it."""
    wanted = prepare.draft_size if jpeg.exif.orientation < 5 else prepare.draft_size[::-1]
    scale = min(whole // least for whole, least in zip(jpeg.size, wanted, strict=True))
    return next((factor for factor in (8, 4, 2) if scale >= factor), 1)


def _reduced(picture: torch.Tensor, factor: int) -> torch.Tensor:
    """Means of squares of uint8 [3, height, width], rounded; at the far edges, of what there is of them."""
    import torch

    if factor == 1:
        return picture
    means = torch.nn.functional.avg_pool2d(
        picture[None].to(torch.float32), factor, ceil_mode=True, count_include_pad=False
    )
    return means[0].round_().to(torch.uint8)


def _decoded(contents: list[bytes], place: str) -> list[torch.Tensor]:
    """uint8 [3, height, width] of each, on the device."""
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg

    _ready(place)
    encoded = [torch.frombuffer(bytearray(content), dtype=torch.uint8) for content in contents]
    if place != "cpu":
        torch.cuda.synchronize(place)
    pictures: list[torch.Tensor] = decode_jpeg(encoded, ImageReadMode.RGB, place)
    return pictures


@functools.cache
def _ready(place: str) -> None:
    import torch

    warnings.simplefilter("ignore")  # that torchvision's decoder is to move
    torch.set_num_threads(1)  # there are several processes
    if place != "cpu":
        torch.cuda.set_device(place)


def _recover(place: str) -> None:
    """Give back the memory of what failed. Ends the process where the GPU itself has failed."""
    import torch

    if place == "cpu":
        return
    try:
        torch.cuda.synchronize(place)
        torch.cuda.empty_cache()
    except RuntimeError:
        os._exit(FAILED)


def _probe(width: int, height: int) -> bytes:
    """A JPEG with all colours, and grain: one tile of it, again and again."""
    across, down = np.meshgrid(np.linspace(0, 255, _TILE), np.linspace(0, 255, _TILE))
    grain = np.random.default_rng(0).normal(0, _GRAIN, (_TILE, _TILE))
    tile = np.clip(np.stack([across, down, 255 - across], axis=2) + grain[..., None], 0, 255).astype(np.uint8)
    pixels = np.tile(tile, (-(-height // _TILE), -(-width // _TILE), 1))[:height, :width]
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=90)
    return content.getvalue()


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200] or type(error).__name__
