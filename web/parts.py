"""Parts of photos to search by: `ID@left,top,right,bottom`, cut from the original, not from a thumbnail."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio.to_thread
from fastapi.concurrency import run_in_threadpool

from indexer.files import content_of
from search.errors import PhotoError
from web.access import EngineAccess
from web.photo_files import checked_id, find_file, known_photo
from web.problems import ProblemError
from web.uploads import QUERY_DRAFT, QUERY_PIXELS, Decoder

if TYPE_CHECKING:
    from PIL.Image import Image

Box = tuple[float, float, float, float]

_NUMBER = r"(\d(?:\.\d{1,6})?)"
_BOX = re.compile(",".join([_NUMBER] * 4))
SMALLEST = 16
"""Pixels of the original on the shorter side of a part; less shows nothing that could be searched by."""


@dataclass(frozen=True)
class Liked:
    """A photo of the index to search by, or the part of it in `box`: left, top, right and bottom as fractions of the
    upright photo."""

    photo_id: str
    box: Box | None = None


def liked(text: str) -> Liked:
    """What a field `like` names.

    Raises:
        ProblemError: 404 if no photo can have that id, 422 if the box is none.
    """
    photo_id, marked, numbers = text.partition("@")
    checked_id(photo_id)
    if not marked:
        return Liked(photo_id)
    found = _BOX.fullmatch(numbers)
    left, top, right, bottom = map(float, found.groups()) if found else (1.0, 1.0, 0.0, 0.0)
    if not (left < right <= 1 and top < bottom <= 1):
        raise ProblemError(
            422,
            "A part of a photo is named by its id, @ and left, top, right and bottom as fractions from 0 to 1, the "
            "smaller ones first: ID@0.1,0.2,0.5,0.6.",
        )
    return Liked(photo_id, (left, top, right, bottom))


async def cut(access: EngineAccess, decoder: Decoder, photo_id: str, box: Box) -> Image:
    """The part of a photo that lies in `box`, upright RGB, widened to a square as far as the photo goes: models take
    squares, and would crop or squeeze anything else.

    Raises:
        ProblemError: 404 if there is no such photo or its file is gone, 422 if the part is too small.
    """
    photo = await run_in_threadpool(known_photo, access, photo_id)
    left, top, right, bottom = box
    across, down = (right - left) * photo.width, (bottom - top) * photo.height
    if min(across, down) < SMALLEST:
        raise ProblemError(
            422, f"The part is too small to search by: draw it {SMALLEST} pixels wide and high at least."
        )

    def decoded() -> Image:
        path, _ = find_file(photo)
        # So large that the part alone has what a whole picture to search by has.
        draft = (round(QUERY_DRAFT[0] / (right - left)), round(QUERY_DRAFT[1] / (bottom - top)))
        with content_of(photo.id, path) as content:
            return decoder.decoders.picture(content, draft=draft, box=box, side=QUERY_DRAFT[0], pixels=QUERY_PIXELS)

    try:
        return await anyio.to_thread.run_sync(decoded, limiter=decoder.limiter)
    except PhotoError as error:
        raise ProblemError(404, f"The photo cannot be read again: {error}.") from error
