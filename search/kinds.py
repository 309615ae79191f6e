"""What kind of picture it is: a photo, a screenshot, a document or a drawing.

Zero-shot evidence, the share of a picture that falls on concepts such as `screenshot` (see `search.tagging`), is added
to plain signals, as in a naive Bayes classifier: how flat the picture is, whether it has the size of a screen, whether
a camera took it. The weights are log-likelihood ratios in nats, beside those of a photo; docs/tags.md has the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from search.query import KINDS
from search.vectors.protocol import Floats
from search.vocabulary import Concept

_CONCEPTS = {
    "screenshot": ("screenshot", "computer screen", "phone screen"),
    "document": ("document",),
    "drawing": ("drawing", "painting", "digital artwork", "diagram", "logo"),
}
_PRIOR = {"screenshot": -0.6, "document": -0.6, "drawing": -1.5}
_BY_FLATNESS = {"screenshot": 1.2, "document": 0.8, "drawing": 1.5}
"""For each nat by which a picture is flatter than `_FLAT`."""
_BY_CAMERA = {"screenshot": -6.0, "document": -1.5, "drawing": -4.0}
"""Where a camera is named: people do photograph documents."""
_AS_SCREEN, _AS_LOSSY_SCREEN, _AS_NO_SCREEN = 3.0, 2.0, -1.5
"""For a screenshot, by size: screenshots are seldom saved with loss, and often whole."""
_FLAT, _LEAST, _RANGE = 0.12, 0.01, (-2.5, 2.2)
_UNKNOWN_FLATNESS = 0.02

_SCREEN_SIZES = """
    1024x768 1152x864 1280x720 1280x800 1280x1024 1360x768 1366x768 1440x900 1536x864 1600x900 1680x1050 1920x1080
    1920x1200 2048x1152 2160x1440 2256x1504 2304x1440 2560x1080 2560x1440 2560x1600 2560x1664 2736x1824 2880x1620
    2880x1800 2880x1864 2880x1920 3000x2000 3024x1964 3072x1920 3200x1800 3240x2160 3440x1440 3456x2234 3840x1080
    3840x1600 3840x2160 3840x2400 4096x2160 4480x2520 5120x1440 5120x2160 5120x2880 6016x3384
    640x960 640x1136 750x1334 828x1792 1080x1920 1125x2436 1170x2532 1179x2556 1206x2622 1242x2208 1242x2688 1260x2736
    1284x2778 1290x2796 1320x2868 480x800 480x854 540x960 720x1280 720x1440 720x1480 720x1520 720x1544 720x1560 720x1600
    720x1612 1008x2244 1080x2160 1080x2220 1080x2246 1080x2280 1080x2310 1080x2316 1080x2340 1080x2376 1080x2388
    1080x2400 1080x2408 1080x2412 1080x2424 1080x2460 1080x2520 1080x2640 1220x2712 1240x2772 1264x2780 1280x2800
    1280x2856 1344x2992 1440x2560 1440x2880 1440x2960 1440x3040 1440x3088 1440x3120 1440x3168 1440x3200 1440x3216
    600x1024 800x1280 1200x1920 1200x2000 1488x2266 1536x2048 1600x2560 1620x2160 1640x2360 1668x2224 1668x2388
    1668x2420 1752x2800 1848x2960 2048x2732 2064x2752
"""
"""Of computers, telephones and tablets, in pixels, which people hold either way."""
_SCREENS = frozenset(tuple(sorted(map(int, size.split("x")))) for size in _SCREEN_SIZES.split())
CONSTANTS = (
    (_CONCEPTS, _PRIOR, _BY_FLATNESS, _BY_CAMERA),
    (_AS_SCREEN, _AS_LOSSY_SCREEN, _AS_NO_SCREEN, _FLAT, _LEAST, _RANGE, _UNKNOWN_FLATNESS),
    sorted(_SCREENS),
)
"""Photos whose kind others decided are judged anew."""


@dataclass(frozen=True)
class Signals:
    """What the catalog knows of a picture: `flatness` is None where it was indexed before that was measured."""

    width: int
    height: int
    format: str
    camera: str | None
    flatness: float | None


def kinds(shares: Floats, chance: Floats, concepts: Sequence[Concept], pictures: Sequence[Signals]) -> list[str]:
    """The kind of each of n pictures, one of `KINDS`.

    `shares` (float32[n, c]) and `chance` (float32[c]) are those of a `Tagger` of the c `concepts`.
    """
    places = {concept.tag: place for place, concept in enumerate(concepts)}
    scores: Any = np.zeros((len(pictures), len(KINDS)))
    for column, kind in enumerate(KINDS):
        if kind in _CONCEPTS:
            meant = [places[tag] for tag in _CONCEPTS[kind]]
            scores[:, column] = np.log(np.maximum(shares[:, meant].sum(axis=1), 1e-9) / chance[meant].sum())
            scores[:, column] += [_signals(kind, picture) for picture in pictures]
    return [KINDS[column] for column in scores.argmax(axis=1).tolist()]


def _signals(kind: str, picture: Signals) -> float:
    flatness = _UNKNOWN_FLATNESS if picture.flatness is None else picture.flatness
    flat = min(_RANGE[1], max(_RANGE[0], float(np.log((flatness + _LEAST) / _FLAT))))
    score = _PRIOR[kind] + _BY_FLATNESS[kind] * flat
    if picture.camera:
        score += _BY_CAMERA[kind]
    if kind == "screenshot":
        if tuple(sorted((picture.width, picture.height))) not in _SCREENS:
            score += _AS_NO_SCREEN
        else:
            score += _AS_LOSSY_SCREEN if picture.format in ("JPEG", "HEIC") else _AS_SCREEN
    return score
