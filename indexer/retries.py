"""Whether a photo that failed is worth another try though its file has not changed: its sentence in the catalog tells.

What is surely a photo's own doing is not tried again. What may be the doing of others (a signal from outside, a machine
that stood still) is tried again at once, and after that once a day, so that a photo that does it each time costs no run
more than one try a day. What a limit has refused is tried again under a larger one.
"""

from __future__ import annotations

import re
from datetime import date

_TRIED = re.compile(r"; it was tried on (\d{4}-\d\d-\d\d) and will be on another day")
_TOO_LONG = re.compile(r"it takes longer than (\S+) s to decode")
_TOO_LARGE = re.compile(r"it has \S+ megapixels \((\d+) x (\d+)\), more than the limit of (\S+)")
_MOST_WITHOUT_ALLOWANCE = 500.0


def until_another_day(sentence: str) -> str:
    """What the catalog is to say of a failure that may be the doing of others."""
    return f"{sentence}; it was tried on {date.today().isoformat()} and will be on another day"


def is_due(failure: str) -> bool:
    """Whether a photo that failed so is worth another try now.

    Raises:
        SettingsError: an environment variable has a value that cannot be.
    """
    if tried := _TRIED.search(failure):
        return tried[1] != date.today().isoformat()
    if too_long := _TOO_LONG.fullmatch(failure):
        from indexer.decoding.settings import DecodingSettings

        return float(f"{DecodingSettings.read().seconds:g}") > float(too_long[1])
    if too_large := _TOO_LARGE.fullmatch(failure):
        from indexer.pixels import default_max_pixels  # here, since it brings Pillow and NumPy along
        from indexer.read import DRAFT_ALLOWANCE

        width, height, limit = int(too_large[1]), int(too_large[2]), float(too_large[3])
        # Only where photos are reduced as they are decoded a limit is so large.
        allowed = DRAFT_ALLOWANCE if limit > _MOST_WITHOUT_ALLOWANCE else 1
        return width * height <= default_max_pixels() * allowed
    return False
