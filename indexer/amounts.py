"""Sizes and times as people write them on a command line."""

from __future__ import annotations

import re

from search.errors import SightlineError

_BYTES = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "ki": 1024, "mi": 1024**2, "gi": 1024**3}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


def size(text: str) -> int:
    """Bytes of `20000`, `20kB`, `1.5 MB` or `64KiB`.

    Raises:
        SightlineError: it is no size.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?i?)b?", text.strip().lower())
    if found is None or found[2] not in _BYTES:
        raise SightlineError(f"{text!r} is no size; write it as 20kB or 1.5MB.")
    return int(float(found[1]) * _BYTES[found[2]])


def seconds(text: str) -> float:
    """Seconds of `90s`, `30m`, `6h`, `1h30m` or `30d`; at least one.

    Raises:
        SightlineError: it is no such time.
    """
    wanted = text.strip().lower()
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([smhdw])", wanted)
    total = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if not re.fullmatch(r"(\d+(\.\d+)?\s*[smhdw]\s*)+", wanted) or not 1 <= total <= 3650 * 86_400:
        raise SightlineError(
            f"{text!r} is no time between a second and ten years; write it as 90s, 30m, 6h, 1h30m or 30d."
        )
    return total
