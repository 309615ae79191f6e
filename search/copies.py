"""Near copies: different photos that show the same picture, saved anew, made smaller, brightened or cut a little.

Hardly a bit of their perceptual hashes differs, and their embeddings are near: each of these alone would take many
different pictures for copies. Two photos that were taken at different seconds by their cameras' clocks are none, so
that the frames of a burst are not. Distances (1 - cosine) are measured in the library's pair distance, as that of a
`Snapshot`, but of pictures whose hashes are far apart: copies must not move the bound by which they are told.
docs/duplicates.md has the measurements behind the bounds.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from search.catalog.copies import hashed
from search.hash_pairs import BITS, Pair, Places, hash_pairs
from search.vectors.protocol import Floats, Keys
from search.vectors.snapshot import Snapshot, pair_distance, sample

SAME_BITS, SAME_DISTANCE = 4, 0.5
"""Photos whose hashes differ in so few bits are copies unless their embeddings say that they are not."""
NEAR_DISTANCE = 0.1
"""Those whose hashes differ in up to `hash_pairs.BITS` are copies if their embeddings say that they are and one may be
cut out of the other: they are not of the same width and height, as the frames of a burst are."""
STRICT_BITS, STRICT_DISTANCE = 2, 0.03
"""Pages and screens of one layout are near by both measures, so that both bounds are tight where one of two pictures is
no photo, or is not known to be one yet."""
COMMON = 250
"""A hash that more photos than these share (of a fixed camera, of an empty form) tells nothing of any of them."""
_PAIRS = 2**20
_VECTORS = 2**12


@dataclass(frozen=True)
class Copies:
    """Pairs of near copies.

    Attributes:
        photos: `search.catalog.copies.HASHED`[n], the best first.
        one, other: int64[m], the places in `photos` of two copies, one < other; in the order of `one`, then `other`.
        bits: uint8[m], how many bits of their hashes differ.
        distances: float32[m], of their embeddings, as a part of the pair distance.
    """

    photos: npt.NDArray[Any]
    one: Places
    other: Places
    bits: npt.NDArray[np.uint8]
    distances: Floats


def near_copies(connection: sqlite3.Connection, snapshot: Snapshot) -> Copies:
    """All pairs in the state that both the snapshot and the connection show."""
    photos = hashed(connection)
    photos = photos[np.isin(photos["key"], snapshot.live)]
    found = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint8), np.empty(0, np.float32))]
    unit = _pair_distance(snapshot, photos)
    for one, other in _alike(photos):
        bits = np.bitwise_count(photos["hash"][one] ^ photos["hash"][other])
        distances = _distances(snapshot, photos["key"][one], photos["key"][other]) / unit
        cut = photos["shape"][one] != photos["shape"][other]
        copy = (cut & (distances <= NEAR_DISTANCE)) | ((bits <= SAME_BITS) & (distances <= SAME_DISTANCE))
        strict = (bits <= STRICT_BITS) & (distances <= STRICT_DISTANCE)
        kept = np.where(photos["is_photo"][one] & photos["is_photo"][other], copy, strict)
        found.append((one[kept], other[kept], bits[kept], distances[kept]))
    one, other, bits, distances = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((other, one))
    return Copies(photos, one[order], other[order], bits[order], distances[order])


def _pair_distance(snapshot: Snapshot, photos: npt.NDArray[Any]) -> float:
    """Infinite where all photos look the same: nothing says then what is far in this library."""
    some = photos[sample(len(photos))]
    near = np.bitwise_count(some["hash"][:, None] ^ some["hash"]) <= BITS
    distinct = some[~np.tril(near, -1).any(axis=1)]
    return max(pair_distance(snapshot.vectors(distinct["key"])), 1e-6) if len(distinct) > 1 else math.inf


def _alike(photos: npt.NDArray[Any]) -> Iterator[Pair]:
    """The pairs of photos that may be copies by their hashes and dates, in portions."""
    hashes, photo_hash, counts = np.unique(photos["hash"], return_inverse=True, return_counts=True)
    members = np.argsort(photo_hash, kind="stable")
    starts = np.cumsum(counts) - counts
    telling = np.flatnonzero(counts <= COMMON)
    first, second = (telling[places] for places in hash_pairs(hashes[telling]))
    shared = telling[counts[telling] > 1]
    first, second = np.concatenate([shared, first]), np.concatenate([shared, second])
    ends = np.cumsum(counts[first] * counts[second])
    cuts = np.searchsorted(ends, np.arange(_PAIRS, int(ends[-1]) if len(ends) else 0, _PAIRS))
    for low, high in zip([0, *cuts], [*cuts, len(first)], strict=True):
        one, other = first[low:high], second[low:high]
        some = counts[one] * counts[other]
        one, other = np.repeat(one, some), np.repeat(other, some)
        number = np.arange(len(one)) - np.repeat(np.cumsum(some) - some, some)
        left = members[starts[one] + number // counts[other]]
        right = members[starts[other] + number % counts[other]]
        moved = np.abs(photos["seconds"][left] - photos["seconds"][right]) > 0  # not so where one is not known
        kept = ~moved & ((one != other) | (left < right))
        yield np.minimum(left, right)[kept], np.maximum(left, right)[kept]


def _distances(snapshot: Snapshot, one: Keys, other: Keys) -> Floats:
    """1 - cosine of each of the photos `one` and its `other`, float32[n]."""
    found = np.empty(len(one), np.float32)
    for start in range(0, len(one), _VECTORS):
        part = slice(start, start + _VECTORS)
        found[part] = 1 - np.einsum("nd,nd->n", snapshot.vectors(one[part]), snapshot.vectors(other[part]))
    return found.clip(min=0)
