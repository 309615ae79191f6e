"""What is kept of how a photo looks: a preview of a few pixels, and a perceptual hash by which copies are found.

Both are made of one copy of 32 x 32 pixels, over which the whole photo is stretched.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

if TYPE_CHECKING:
    from search.catalog.changes import Look

PREVIEW = (4, 3)
"""Width and height of a preview, in pixels."""
_SIDE = 32
_LOWEST = 8  # of the frequencies across, and of those down
# Below this standard deviation of its greys a copy is too even: what is left are a few lines of a page, or noise. Of
# 1,000 photos the most even has 13; of pages of text, which are alike in this size, 22 % have less than 8.
_EVEN = 8.0


def look(image: Image.Image) -> Look:
    """How an RGB picture looks, upright and of any size."""
    from search.catalog.changes import Look  # here, since what only decodes has no use for a database

    return Look(*preview_and_hash(image))


def preview_and_hash(image: Image.Image) -> tuple[bytes, int]:
    """The two fields of its `Look`."""
    # Whole pixels are averaged before they are filtered: four times as fast as a plain Lanczos filter, and copies have
    # the same hash as often.
    small = image.resize((_SIDE, _SIDE), Image.Resampling.HAMMING, reducing_gap=2.0)
    preview = small.resize(PREVIEW, Image.Resampling.BOX).tobytes()
    return preview, _perceptual_hash(np.asarray(small.convert("L"), np.float64))


def _perceptual_hash(greys: npt.NDArray[np.float64]) -> int:
    """63 bits of which few differ between a picture and its copies: rescaled, saved anew, somewhat brighter.

    The hash of Zauner, “Implementation and Benchmarking of Perceptual Image Hash Functions” (2010), on the 8 x 8 lowest
    frequencies of the discrete cosine transform, as the library imagehash has it (which would add SciPy and PyWavelets
    to what must be installed, for these lines): a bit is set where a frequency is stronger than their median. That of
    the mean brightness, the first and highest bit, says nothing of a picture and is never set.

    Args:
        greys: float64[32, 32], 0 to 255.

    Returns:
        0 to 2**63 - 1; 0 where the picture is too even for its frequencies to mean anything.
    """
    if greys.std() < _EVEN:
        return 0
    waves = _waves()
    frequencies = (waves @ greys @ waves.T).ravel()
    bits = frequencies > np.partition(frequencies[1:], _LOWEST**2 // 2 - 1)[_LOWEST**2 // 2 - 1]
    bits[0] = False
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


@functools.cache
def _waves() -> npt.NDArray[np.float64]:
    """The first rows of the discrete cosine transform (DCT-II, not scaled), float64[8, 32]."""
    return np.cos(np.pi / _SIDE * np.arange(_LOWEST)[:, None] * (np.arange(_SIDE) + 0.5))
