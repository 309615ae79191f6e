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
from search.vectors.inverted import FILE, InvertedIndex, Tuning, keys_by_list, read_tuning
from search.vectors.protocol import Floats, Keys
from search.vectors.recall import AT, EACH, Probes, fetched, tuned

RECALL = 0.98
"""The share of the nearest photos that is to be found where nobody says otherwise."""
_PROBES = "probes.npz"
_A_LIST = 64  # photos that its centroid is learned from
_ITERATIONS = 8
_WORSE = 0.01
_MORE = 1.1
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
    """Write an index of all that is committed into `folder`.

    Raises:
        OSError: it cannot be written.
    """
    import faiss

    numbers, keys = stored.numbers(connection, model_key)
    lists = max(1, min(int(4 * math.sqrt(len(numbers))), len(numbers) // 8))
    dice = np.random.default_rng(0)
    learned = np.sort(dice.choice(numbers, min(len(numbers), _A_LIST * lists), replace=False))
    sample = stored.some(connection, learned, dimensions)
    clustering = faiss.Kmeans(
        dimensions, lists, niter=_ITERATIONS, seed=0, max_points_per_centroid=_A_LIST, min_points_per_centroid=1
    )
    clustering.train(sample)
    assert clustering.centroids is not None
    centroids = faiss.IndexFlatL2(dimensions)
    centroids.add(clustering.centroids)
    index = faiss.IndexIVFScalarQuantizer(
        centroids, dimensions, lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT, True
    )
    index.train(sample)
    del sample
    asked = np.sort(dice.choice(len(keys), min(EACH, len(keys)), replace=False))
    probes = Probes.of(stored.some(connection, numbers[asked], dimensions), keys[asked])
    if wanted.texts is not None:
        probes = probes.and_of(_texts(wanted.texts()))
    probes = _add(index, probes, connection, model_key, dimensions, 0, wanted)
    blank = Tuning(0, 0.0, 0.0, {}, 0, index.ntotal)
    tuning = tuned(InvertedIndex(index, blank, keys_by_list(index)), probes, wanted.recall)
    _write(folder, index, replace(tuning, visited_once=tuning.visited), probes)


@dataclass(frozen=True)
class Former:
    """A published index, read for being added to."""

    index: Any
    tuning: Tuning
    probes: Probes

    @classmethod
    def read(cls, folder: Path) -> Former:
        """What was written into `folder`.

        Raises:
            OSError, RuntimeError, ValueError, TypeError, KeyError: it is missing or damaged.
        """
        import faiss

        return cls(faiss.read_index(str(folder / FILE)), read_tuning(folder), Probes.read(folder / _PROBES))


def grow(
    connection: sqlite3.Connection,
    model_key: int,
    dimensions: int,
    wanted: Wanted,
    former: Former,
    through: int,
    folder: Path,
) -> bool:
    """Write into `folder` what `former` holds, less what is no longer committed, with what was committed after the
    embedding of number `through`. Whether that serves: False where the lists should be made anew.

    Raises:
        OSError: it cannot be written.
    """
    import faiss

    index, before, probes = former.index, former.tuning, former.probes
    numbers, keys = stored.numbers(connection, model_key)
    if not before.photos_once / _GROWN <= len(keys) <= before.photos_once * _GROWN:
        return False
    breadths = (before.breadth,)
    if wanted.recall != before.target:
        # What would have been enough for that when the lists were made, as far as it can be told now.
        drift = before.visited / max(before.visited_once, 1)
        other = tuned(InvertedIndex(index, before, keys_by_list(index)), probes, wanted.recall, breadths=breadths)
        before = replace(other, visited_once=max(1, round(other.visited / drift)))
    new = numbers > through
    gone = np.setdiff1d(keys_by_list(index), keys[~new])
    if len(gone):
        index.remove_ids(faiss.IDSelectorBatch(gone))
        probes = probes.without(gone)
    probes = _add(index, probes, connection, model_key, dimensions, through, wanted)
    if index.ntotal != len(keys) or len(probes.own) < EACH // 4:
        return False
    grown = InvertedIndex(index, before, keys_by_list(index))
    dice = np.random.default_rng(len(keys))
    probes = _renewed(probes, grown, connection, model_key, dimensions, keys[new], dice)
    if wanted.texts is not None and (probes.own >= 0).all():
        texts = _texts(wanted.texts())
        probes = probes.and_of(_compared(texts, grown, connection, model_key, dimensions))
    tuning = tuned(grown, probes, wanted.recall, breadths=breadths)
    # What a query has to look at grows with the library; where it grows faster, the lists do not fit to it any more.
    expected = before.visited_once * max(1.0, len(keys) / before.photos_once)
    if "texts" not in before.recall and "texts" in tuning.recall:
        tuning = replace(tuning, visited_once=tuning.visited)  # only now it is known
    elif tuning.visited > _GROWN * expected or _worst(tuning) < min(wanted.recall, _worst(before)) - _WORSE:
        return False
    elif _worst(tuning) < wanted.recall and len(keys) > _MORE * before.photos_once:
        return False  # new lists may do better; where they do not, it is not tried again before it has grown as much
    _write(folder, index, tuning, probes)
    return True


def _texts(texts: Floats) -> Probes:
    """Probes of some of these."""
    some = texts[np.linspace(0, len(texts) - 1, min(EACH, len(texts))).astype(np.int64)]
    return Probes.of(some, np.full(len(some), -1, np.int64))


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
    probes: Probes,
    index: InvertedIndex,
    connection: sqlite3.Connection,
    model_key: int,
    dimensions: int,
    new: Keys,
    dice: np.random.Generator,
) -> Probes:
    """Probes of which new photos are as large a part as they are of the library."""
    count = min(len(new), int(EACH * len(new) / len(index) + dice.random()))
    if not count:
        return probes
    chosen = np.sort(dice.choice(new, count, replace=False))
    places, queries = stored.of_photos(connection, model_key, chosen, dimensions)
    fresh = _compared(Probes.of(queries, chosen[places]), index, connection, model_key, dimensions)
    photos = np.flatnonzero(probes.own >= 0)
    kept = np.ones(len(probes.own), np.bool_)
    kept[dice.choice(photos, max(0, min(len(photos), len(photos) + count - EACH)), replace=False)] = False
    return probes.some(kept).and_of(fresh)


def _compared(
    probes: Probes, index: InvertedIndex, connection: sqlite3.Connection, model_key: int, dimensions: int
) -> Probes:
    """The same, having seen what an index holds: all of it as it is kept there, and the best as it is."""
    whole = replace(index.tuning, visited=len(index))
    _, found = index.search_as(whole, probes.queries, fetched(2 * AT) + 1)
    near = np.unique(found[found >= 0])
    here, vectors = stored.of_photos(connection, model_key, near, dimensions)
    return probes.seen(near[here], vectors)


def _worst(tuning: Tuning) -> float:
    return min(tuning.recall.values(), default=1.0)


def _write(folder: Path, index: Any, tuning: Tuning, probes: Probes) -> None:
    InvertedIndex.write(folder, index, tuning)
    probes.write(folder / _PROBES)
