"""All pairs of hashes of which few bits differ, found without comparing every hash with every other.

Multi-index hashing (Norouzi, Punjani and Fleet, “Fast Search in Hamming Space with Multi-Index Hashing”, CVPR 2012): a
hash of 64 bits is cut into four parts. Of two hashes that differ in at most 10 bits some part differs in at most 2 (the
last: 1), for else they would differ in 3 + 3 + 3 + 2. So only hashes with such a part are compared: of random ones one
pair in 150. FAISS has the same for single queries (`IndexBinaryMultiHash`); for all pairs of 500,000 hashes it takes 60
times as long, and comparing all with all (`IndexBinaryFlat`) 15 times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]
Pair = tuple[Places, Places]

BITS = 10
"""In how many bits the hashes of a pair differ at most."""
_PART = 16
_VALUES = 2**_PART
_SHIFTS = (0, 16, 32, 48)
_STEPS = ((BITS, (2, 2, 2, 1)), (7, (1, 1, 1, 1)), (3, (0, 0, 0, 0)))
"""How far the parts may differ so that no pair of so many bits is missed."""
_MOST = 4_000_000_000  # comparisons, half a minute
_MOST_PAIRS = 20_000_000  # 320 MB of them
_CHUNK = 2**21


def hash_pairs(hashes: Hashes) -> Pair:
    """The pairs of `hashes` (uint64[n], no two equal) that differ in at most `BITS` bits.

    Where most pictures of a large library look the same (those of a fixed camera, say), that would be as much work as
    comparing all with all, and too many pairs to keep; then pairs of 7, of 3 or of no bits alone are found.

    Returns:
        the places of the one and of the other, int64[m] each: every pair once, in no order.
    """
    parts = [((hashes >> np.uint64(shift)) & np.uint64(_VALUES - 1)).astype(np.int64) for shift in _SHIFTS]
    sizes = [np.bincount(part, minlength=_VALUES) for part in parts]
    for bits, radii in _STEPS:
        if len(hashes) ** 2 <= _MOST or _comparisons(sizes, radii) <= _MOST:
            pairs = _within(hashes, parts, sizes, radii, bits)
            if pairs is not None:
                return pairs
    return np.empty(0, np.int64), np.empty(0, np.int64)


def _within(
    hashes: Hashes, parts: Sequence[Places], sizes: Sequence[Places], radii: Sequence[int], bits: int
) -> Pair | None:
    """The pairs that differ in at most `bits` bits; None where there are more than can be kept."""
    found = [np.empty((2, 0), np.int64)]
    count = 0
    for number, part in enumerate(parts):
        order = np.argsort(part, kind="stable")
        for one, other in _of_part(hashes[order], part[order], sizes[number], radii[number], bits):
            # A pair belongs to the first part in which it is near, so that it is found once.
            differing = hashes[order[one]] ^ hashes[order[other]]
            mine = np.ones(len(one), np.bool_)
            for shift, radius in zip(_SHIFTS[:number], radii, strict=False):
                mine &= np.bitwise_count((differing >> np.uint64(shift)) & np.uint64(_VALUES - 1)) > radius
            found.append(np.stack([order[one[mine]], order[other[mine]]]))
            count += len(found[-1][0])
            if count > _MOST_PAIRS:
                return None
    first, second = np.concatenate(found, axis=1)
    return first, second


def _masks(radius: int) -> Iterator[int]:
    """What takes the value of a part to each value that differs in 1 to `radius` bits."""
    for bits in range(1, radius + 1):
        for chosen in combinations(range(_PART), bits):
            yield sum(1 << bit for bit in chosen)


def _comparisons(sizes: Sequence[Places], radii: Sequence[int]) -> int:
    values = np.arange(_VALUES)
    return sum(
        int(size @ size + sum(size @ size[values ^ mask] for mask in _masks(radius))) // 2
        for size, radius in zip(sizes, radii, strict=True)
    )


def _of_part(hashes: Hashes, values: Places, sizes: Places, radius: int, bits: int) -> Iterator[Pair]:
    """The pairs that differ in at most `radius` bits of a part and in `bits` of the whole, in the order of `hashes`,
    which are sorted by the `values` of that part."""
    starts = np.concatenate([[0], np.cumsum(sizes)])
    places = np.arange(len(hashes))
    yield from _compared(hashes, places, places + 1, starts[values + 1] - places - 1, bits)
    for mask in _masks(radius):
        target = values ^ mask
        rows = np.flatnonzero(target > values)
        yield from _compared(hashes, rows, starts[target[rows]], sizes[target[rows]], bits)


def _compared(hashes: Hashes, rows: Places, starts: Places, counts: Places, bits: int) -> Iterator[Pair]:
    """Of the hash of each of `rows` and the `counts` ones from `starts` on: those that differ in at most `bits`."""
    ends = np.cumsum(counts)
    cuts = np.searchsorted(ends, np.arange(_CHUNK, int(ends[-1]) if len(ends) else 0, _CHUNK))
    for low, high in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        some = counts[low:high]
        total = int(some.sum())
        if not total:
            continue
        before = np.cumsum(some) - some
        others = np.arange(total) + np.repeat(starts[low:high] - before, some)
        near = np.flatnonzero(np.bitwise_count(np.repeat(hashes[rows[low:high]], some) ^ hashes[others]) <= bits)
        yield rows[low + np.searchsorted(before + some, near, side="right")], others[near]
