"""An approximate index of all embeddings of a model: made of them in two passes, and added to from then on."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from search.vectors import stored
from search.vectors.inverted import FILE, InvertedIndex, Tuning
from search.vectors.protocol import Floats, Keys
from search.vectors.recall import AT, EACH, Probes, fetched, tuned

RECALL = 0.98
"""The share of the nearest photos that is to be found where nobody says otherwise."""
_PROBES = "probes.npz"
_A_LIST = 64  # photos that its centroid is learned from
_ITERATIONS = 8
_GROWN = 2.0  # times as many photos, or as much to look at: the lists are made anew


@dataclass(frozen=True)
class Wanted:
    """What is asked of an index.

    Attributes:
        recall: the share of the nearest photos that it is to find, below 1.
        texts: gives float32[n, d], embeddings of texts such as people ask for; None where none are to be had.
        advance: is told how many embeddings have been read.
    """

    recall: float = RECALL
    texts: Callable[[], Floats] | None = None
    advance: Callable[[int], None] = lambda done: None


def build(connection: sqlite3.Connection, model_key: int, dimensions: int, wanted: Wanted, folder: Path) -> None:
    """Write an index of all that is committed into `folder`."""
    import faiss

    numbers, keys = stored.numbers(connection, model_key)
    lists = max(1, int(4 * math.sqrt(len(numbers))))
    dice = np.random.default_rng(0)
    learned = np.sort(dice.choice(numbers, min(len(numbers), _A_LIST * lists), replace=False))
    sample = np.concatenate([vectors for _, vectors in stored.some(connection, learned, dimensions)])
    clustering = faiss.Kmeans(
        dimensions, lists, niter=_ITERATIONS, seed=0, max_points_per_centroid=_A_LIST, min_points_per_centroid=1
    )
    clustering.train(sample)
    centroids = faiss.IndexFlatL2(dimensions)
    assert clustering.centroids is not None
    centroids.add(clustering.centroids)
    index = faiss.IndexIVFScalarQuantizer(
        centroids, dimensions, lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT, True
    )
    index.train(sample)
    del sample
    asked = np.sort(dice.choice(len(keys), min(EACH, len(keys)), replace=False))
    photos = np.concatenate([vectors for _, vectors in stored.some(connection, numbers[asked], dimensions)])
    probes = Probes.of(photos, keys[asked])
    if wanted.texts is not None:
        texts = wanted.texts()
        some = texts[np.linspace(0, len(texts) - 1, min(EACH, len(texts))).astype(np.int64)]
        probes = probes.and_of(Probes.of(some, np.full(len(some), -1, np.int64)))
    probes = _add(index, probes, connection, model_key, dimensions, 0, wanted)
    tuning = tuned(InvertedIndex(index, Tuning(0, 0.0, 0.0, {}, 0, index.ntotal)), probes, wanted.recall)
    _write(folder, index, replace(tuning, visited_once=tuning.visited), probes)


def grow(
    connection: sqlite3.Connection,
    model_key: int,
    dimensions: int,
    wanted: Wanted,
    former: Path,
    through: int,
    folder: Path,
) -> bool:
    """Write into `folder` what is in `former`, less what is no longer committed, with what was committed after the
    embedding of number `through`. Whether that serves: False where the lists should be made anew.

    Raises:
        OSError, RuntimeError, ValueError, TypeError, KeyError: what is in `former` is damaged.
    """
    import faiss

    index = faiss.read_index(str(former / FILE))
    before = InvertedIndex.read(former)
    probes = Probes.read(former / _PROBES)
    numbers, keys = stored.numbers(connection, model_key)
    new = numbers > through
    gone = np.setdiff1d(before.keys, keys[~new])
    if not before.tuning.photos_once / _GROWN <= len(keys) <= before.tuning.photos_once * _GROWN:
        return False
    if len(gone):
        index.remove_ids(faiss.IDSelectorBatch(gone))
        probes = probes.without(gone)
    probes = _add(index, probes, connection, model_key, dimensions, through, wanted)
    grown = InvertedIndex(index, before.tuning)
    probes = _renewed(probes, grown, connection, keys[new], model_key, dimensions)
    tuning = tuned(grown, probes, wanted.recall, breadths=(before.tuning.breadth,))
    # What a query has to look at grows with the library; where it grows faster, the lists do not fit to it any more.
    expected = before.tuning.visited_once * max(1.0, len(keys) / before.tuning.photos_once)
    if tuning.visited > _GROWN * expected and wanted.recall <= before.tuning.target:
        return False
    once = tuning.visited if wanted.recall > before.tuning.target else before.tuning.visited_once
    _write(folder, index, replace(tuning, visited_once=once), probes)
    return True


def _add(
    index: Any,
    probes: Probes,
    connection: sqlite3.Connection,
    model_key: int,
    dimensions: int,
    after: int,
    wanted: Wanted,
) -> Probes:
    done = 0
    for keys, vectors, _ in stored.chunks(connection, model_key, dimensions, after=after):
        index.add_with_ids(vectors, keys)
        probes = probes.seen(keys, vectors)
        done += len(keys)
        wanted.advance(done)
    return probes


def _renewed(
    probes: Probes, index: InvertedIndex, connection: sqlite3.Connection, new: Keys, model_key: int, dimensions: int
) -> Probes:
    """Probes of which new photos are as large a part as they are of the library."""
    count = min(len(new), math.ceil(EACH * len(new) / max(len(index), 1)))
    if not count:
        return probes
    chosen = np.sort(np.random.default_rng(len(index)).choice(new, count, replace=False))
    places, queries = stored.of_photos(connection, model_key, chosen, dimensions)
    own = chosen[places]
    whole = replace(index.tuning, visited=len(index))
    _, found = index.search_as(whole, queries, fetched(2 * AT) + 1)
    fresh = Probes.of(queries, own)
    near = np.unique(found[found >= 0])
    here, vectors = stored.of_photos(connection, model_key, near, dimensions)
    fresh = fresh.seen(near[here], vectors)
    photos = np.flatnonzero(probes.own >= 0)
    kept = np.ones(len(probes.own), np.bool_)
    kept[photos[: max(0, len(photos) + len(own) - EACH)]] = False  # the oldest stand first
    return probes.some(kept).and_of(fresh)


def _write(folder: Path, index: Any, tuning: Tuning, probes: Probes) -> None:
    InvertedIndex.write(folder, index, tuning)
    probes.write(folder / _PROBES)
