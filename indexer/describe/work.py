"""What a stage of describing does with photos, and what came of it; apart from doing it, which imports what decodes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Work:
    """What a stage does with photos.

    Attributes:
        stage: its name in the catalog.
        author: who does it; photos that another author has described are described again.
        describe: what is found in each of some pictures, RGB and upright, or the error that one of them causes; what it
            raises concerns them all and ends the stage, as does what stands in the place of the photos that it had to
            leave (`indexer.describe.captioner.ended`).
        put: keeps what was found in one of them, in the caller's transaction.
        side: pixels; of a picture whose sides are both longer no more is seen than of one as small.
        batch: pictures in one call.
        pixels: of a picture that has more of them no more is seen either; None: sixteen squares of `side`.
    """

    stage: str
    author: str
    describe: Callable[[list[Image]], Sequence[Any]]
    put: Callable[[sqlite3.Connection, int, Any], None]
    side: int
    batch: int
    pixels: int | None = None


@dataclass
class Outcome:
    """How many photos a stage has described so far, and on how many it failed, as the catalog has it; and how many
    still wait, since no file of theirs was there as it was or the memory did not suffice."""

    described: int = 0
    failed: int = 0
    waiting: int = 0
