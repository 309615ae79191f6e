"""Where in a photo a text is, for image towers that do not tell: cover a part, and see how much of the similarity goes.

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

GRID = 7
"""Places in each direction; the photo is embedded once for each, and once as it is."""


def covered(pixels: npt.NDArray[np.uint8], colour: tuple[float, float, float]) -> npt.NDArray[np.uint8]:
    """Copies of a picture, uint8 [height, width, 3], one for each place, whose square is covered: uint8 [n, height,
    width, 3], by rows.

    Each square reaches half a place beyond its own on all sides, so that a thing on the border of two is covered too.
    `colour` has a value of 0..1 for each channel.
    """
    height, width = pixels.shape[:2]
    copies = np.repeat(pixels[None], GRID * GRID, axis=0)
    for place, copy in enumerate(copies):
        row, column = divmod(place, GRID)
        copy[_stretch(row, height), _stretch(column, width)] = np.round(np.multiply(colour, 255))
    return copies


def _stretch(place: int, length: int) -> slice:
    return slice(max(0, round((place - 0.5) / GRID * length)), round((place + 1.5) / GRID * length))
