"""What the catalog knows of photos as copies of each other."""

from __future__ import annotations

import math
import sqlite3
from typing import Any

import numpy as np
import numpy.typing as npt

HASHED = np.dtype(
    [("key", "<i8"), ("hash", "<u8"), ("is_photo", "?"), ("shape", "<i8"), ("bytes", "<i8"), ("seconds", "<f8")]
)
"""A photo: its perceptual hash, whether its kind is `photo`, its width and height as one number, its bytes, and when
its camera says that it was taken, NaN where that is not known."""

# The columns of HASHED. A file's own date is the next best to when a photo was taken.
_HASHED = """
SELECT key, perceptual_hash, kind IS 'photo', (width << 32) | height, bytes, strftime('%s', substr(taken_at, 1, 19))
FROM photos WHERE orphaned_at IS NULL AND perceptual_hash > 0 ORDER BY width * height DESC, bytes DESC, sort_at, key
"""
_UNHASHED = "SELECT count(*) FROM photos WHERE orphaned_at IS NULL AND perceptual_hash IS NULL"
_SEVERAL = """
SELECT photos.key, bytes, count(*) - 1 FROM files JOIN photos ON photos.key = photo_key
WHERE orphaned_at IS NULL GROUP BY photos.key HAVING count(*) > 1
"""


def hashed(connection: sqlite3.Connection) -> npt.NDArray[Any]:
    """The live photos whose look can be compared, `HASHED`[n], the best first: the one of most pixels, of those the
    one of most bytes, then the oldest."""
    return np.fromiter(
        ((*rest, math.nan if at is None else int(at)) for *rest, at in connection.execute(_HASHED)), HASHED
    )


def unhashed(connection: sqlite3.Connection) -> int:
    """How many live photos have no perceptual hash, since an earlier version indexed them."""
    return int(connection.execute(_UNHASHED).fetchone()[0])


def in_several_files(connection: sqlite3.Connection) -> list[tuple[int, int, int]]:
    """The keys of the live photos that several files hold, their size in bytes, and how many files more than one."""
    return connection.execute(_SEVERAL).fetchall()
