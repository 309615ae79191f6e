"""All pairs of hashes that differ in few bits, as comparing all with all would find them."""

from __future__ import annotations

import numpy as np
import pytest

from search import hash_pairs
from search.hash_pairs import Hashes

_RANDOM = np.random.default_rng(0)


def clustered(count: int, flipped: int) -> Hashes:
    """Random hashes, each with nine more that differ from it in up to `flipped` bits."""
    seeds = _RANDOM.integers(0, 2**63, count // 10, dtype=np.uint64)
    bits = _RANDOM.integers(0, 64, (count // 10, 9, flipped)).astype(np.uint64)
    around = seeds[:, None] ^ np.bitwise_xor.reduce(np.uint64(1) << bits, axis=2)
    return np.unique(np.concatenate([seeds, around.ravel()]))


def expected(hashes: Hashes, bits: int) -> set[tuple[int, int]]:
    near = np.bitwise_count(hashes[:, None] ^ hashes) <= bits
    return set(zip(*(side.tolist() for side in np.nonzero(np.triu(near, 1))), strict=True))


def found(hashes: Hashes) -> list[tuple[int, int]]:
    one, other = hash_pairs.hash_pairs(hashes)
    return [(min(pair), max(pair)) for pair in zip(one.tolist(), other.tolist(), strict=True)]


@pytest.mark.parametrize(
    "hashes",
    [
        clustered(3000, 5),
        clustered(3000, 10),
        np.arange(300, dtype=np.uint64),  # of one cluster, and all parts but one equal
        np.arange(300, dtype=np.uint64) << np.uint64(52),
        np.array([7], np.uint64),
        np.array([], np.uint64),
    ],
    ids=["near", "far", "low bits", "high bits", "one", "none"],
)
def test_every_pair_is_found_once(hashes: Hashes) -> None:
    pairs = found(hashes)
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == expected(hashes, hash_pairs.BITS)


def test_portions_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = clustered(1000, 5)
    whole = found(hashes)
    monkeypatch.setattr(hash_pairs, "_CHUNK", 7)
    assert sorted(found(hashes)) == sorted(whole)


def test_too_much_alike_only_nearer_pairs_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = clustered(1000, 10)
    left = []
    for most in (0, 3_000, 6_000, 12_000):
        monkeypatch.setattr(hash_pairs, "_MOST", most)
        left.append(set(found(hashes)))
    assert left == [set(), *(expected(hashes, bits) for bits in (3, 7, 10))]
    assert len(left[1]) < len(left[2]) < len(left[3])


def test_more_pairs_than_can_be_kept_are_not_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = np.arange(300, dtype=np.uint64)  # all near to each other
    pairs = {bits: expected(hashes, bits) for bits in (hash_pairs.BITS, 7, 3)}
    assert len(pairs[hash_pairs.BITS]) > len(pairs[7]) > len(pairs[3]) > 0
    for bits in pairs:
        monkeypatch.setattr(hash_pairs, "_MOST_PAIRS", len(pairs[bits]))
        assert set(found(hashes)) == pairs[bits]
    monkeypatch.setattr(hash_pairs, "_MOST_PAIRS", len(pairs[3]) - 1)
    assert found(hashes) == []
