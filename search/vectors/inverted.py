"""Approximate search with FAISS: inverted lists of vectors in one byte for each dimension, mapped into memory.

Vectors are kept in the list of the centroid that is nearest to them (Jégou et al., “Product Quantization for Nearest
Neighbor Search”, PAMI 2011), as their difference from it. A query goes through the lists that promise the most until it
has seen as many vectors as the index was tuned for (`search.vectors.recall`). Among vectors that pass a filter it sees
as many, whichever lists they lie in: what a filter leaves of few photos is searched whole.
"""

from __future__ import annotations

import functools
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from search.vectors.protocol import Floats, Keys
from search.vectors.selection import Bits, Remembered, best_first

FILE = "inverted.faiss"
_TUNING = "tuning.json"
_DEEP = 8
"""A list of k hits is looked for among so many times k vectors at least."""

_MOST = 2**31
"""No library's photos are numbered so far; tables are indexed by their numbers."""


@dataclass(frozen=True)
class Tuning:
    """How an index is searched, and what that was measured to find.

    Attributes:
        visited: how many vectors a query is compared with.
        breadth: how much a list that lies far spread counts for promising more than its centroid says.
        target: the recall@10 that was asked for.
        recall: that of the library's own photos and of texts, as it was measured.
        visited_once: what `visited` was when the lists were made.
        photos_once: how many photos there were then.
    """

    visited: int
    breadth: float
    target: float
    recall: dict[str, float]
    visited_once: int
    photos_once: int


@dataclass(frozen=True)
class _Selection:
    """Of the vectors that may answer: their selector (None where all may), and how many lie in each list, int64[l]."""

    bits: Bits | None
    counts: npt.NDArray[np.int64]


def read_tuning(folder: Path) -> Tuning:
    """The tuning of what was written into `folder`.

    Raises:
        OSError, ValueError, TypeError: it is missing or damaged.
    """
    return Tuning(**json.loads((folder / _TUNING).read_text(encoding="utf-8")))


class InvertedIndex:
    """A `VectorIndex` over FAISS's `IndexIVFScalarQuantizer`; it is never changed, so threads may share it."""

    is_exact = False

    def __init__(self, index: Any, tuning: Tuning) -> None:
        """Search FAISS's `index`, whose numbers are photo keys, as `tuning` says.

        Raises:
            ValueError: the index is damaged.
        """
        import faiss

        self._index, self.tuning = index, tuning
        self._centroids: Floats = faiss.downcast_index(index.quantizer).reconstruct_n(0, index.nlist)
        self._spread = np.square(self._centroids).sum(axis=1)
        self._sizes = np.asarray([index.get_list_size(number) for number in range(index.nlist)], np.int64)
        numbers = np.repeat(np.arange(index.nlist, dtype=np.int32), self._sizes)
        keys = np.concatenate([self._keys_of(number) for number in range(index.nlist)])
        if len(keys) and not (keys.min() >= 0 and keys.max() < _MOST):
            raise ValueError("it holds photos that cannot be")
        # By key: in which list a vector lies, and at which place of it; -1 for keys that are not here.
        highest = int(keys.max(initial=0))
        self._list = np.full(highest + 1, -1, np.int32)
        self._list[keys] = numbers
        self._place = np.zeros(highest + 1, np.int32)
        self._place[keys] = np.arange(len(keys)) - np.repeat(np.cumsum(self._sizes) - self._sizes, self._sizes)
        self._selections = Remembered(self._selection)

    @functools.cached_property
    def keys(self) -> Keys:
        """See `VectorIndex.keys`."""
        return np.flatnonzero(self._list >= 0)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def lists(self) -> int:
        """How many lists there are."""
        return int(self._index.nlist)

    def search(self, queries: Floats, k: int, *, allowed: Keys | None = None) -> tuple[Floats, Keys]:
        """See `VectorIndex.search`."""
        return self.search_as(self.tuning, queries, k, allowed=allowed)

    def search_as(self, tuning: Tuning, queries: Floats, k: int, *, allowed: Keys | None = None) -> tuple[Floats, Keys]:
        """`search`, but as another tuning says."""
        import faiss

        chosen = _Selection(None, self._sizes) if allowed is None else self._selections.of(allowed)
        total = int(chosen.counts.sum())
        k = min(k, total)
        if k <= 0:
            empty = (len(queries), 0)
            return np.empty(empty, np.float32), np.empty(empty, np.int64)
        queries = np.ascontiguousarray(queries, np.float32)
        lists, centroid_scores = self._visited(queries, min(total, max(tuning.visited, _DEEP * k)), tuning, chosen)
        scores, keys = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
        parameters = faiss.SearchParametersIVF(  # type: ignore[call-arg]
            nprobe=lists.shape[1], sel=chosen.bits.selector if chosen.bits else None
        )
        pointers = [faiss.swig_ptr(array) for array in (lists, centroid_scores, scores, keys)]
        # `search_preassigned` takes no selector in Python.
        self._index.search_preassigned_c(len(queries), faiss.swig_ptr(queries), k, *pointers, False, parameters)
        return best_first(np.where(keys >= 0, scores, -np.inf).astype(np.float32), keys)

    def vectors(self, keys: Keys) -> tuple[Keys, Floats]:
        """See `VectorIndex.vectors`: as they are kept, which moves a cosine by less than 0.001."""
        known = np.asarray(keys < len(self._list))
        known[known] = self._list[keys[known]] >= 0
        places = np.flatnonzero(known)
        lists, within = self._list[keys[places]], self._place[keys[places]]
        codes = np.empty((len(places), self._index.code_size), np.uint8)
        order = np.argsort(lists, kind="stable")
        for part in np.split(order, np.flatnonzero(np.diff(lists[order])) + 1) if len(order) else ():
            codes[part] = self._codes_of(int(lists[part[0]]))[within[part]]
        differences: Floats = self._index.sq.decode(codes)
        return places, differences + self._centroids[lists]

    @classmethod
    def read(cls, folder: Path) -> InvertedIndex:
        """Map what `write` wrote into memory.

        Raises:
            OSError, RuntimeError, ValueError, TypeError, KeyError: the files are missing or damaged.
        """
        import faiss

        tuning = read_tuning(folder)
        return cls(faiss.read_index(str(folder / FILE), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY), tuning)

    @staticmethod
    def write(folder: Path, index: Any, tuning: Tuning) -> None:
        """Write FAISS's `index` and its tuning into `folder`."""
        import faiss

        faiss.write_index(index, str(folder / FILE))
        (folder / _TUNING).write_text(json.dumps(asdict(tuning)), encoding="utf-8")

    def _visited(self, queries: Floats, least: int, tuning: Tuning, chosen: _Selection) -> tuple[Keys, Floats]:
        """The most promising lists for each query, int64[n, p], until they hold `least` vectors that may answer, and
        how near each centroid is, float32[n, p]; filled up with -1."""
        near = queries @ self._centroids.T
        # The nearest of vectors that lie far apart is farther from their mean, and may be nearer to the query.
        promise = near - tuning.breadth * self._spread
        empty = chosen.counts == 0
        promise[:, empty] = -np.inf
        order = np.argsort(-promise, axis=1)[:, : len(empty) - int(empty.sum())]
        seen = np.cumsum(chosen.counts[order], axis=1)
        enough = seen - chosen.counts[order] < least
        width = int(enough.sum(axis=1).max())
        lists = np.where(enough, order, -1)[:, :width]
        return np.ascontiguousarray(lists), np.ascontiguousarray(np.take_along_axis(near, order[:, :width], axis=1))

    def _selection(self, allowed: Keys) -> _Selection:
        allowed = allowed[allowed < len(self._list)]
        lists = self._list[allowed]
        counts = np.bincount(lists[lists >= 0], minlength=len(self._sizes))
        if np.array_equal(counts, self._sizes):
            return _Selection(None, counts)
        table = np.zeros(len(self._list), np.bool_)
        table[allowed] = True
        return _Selection(Bits(table), counts)

    def _keys_of(self, number: int) -> Keys:
        """The keys of a list, int64[n], where they lie in the file."""
        import faiss

        size = self._index.get_list_size(number)
        return faiss.rev_swig_ptr(self._index.invlists.get_ids(number), size) if size else np.empty(0, np.int64)

    def _codes_of(self, number: int) -> npt.NDArray[np.uint8]:
        """The codes of a list, uint8[n, b], where they lie in the file."""
        import faiss

        codes = self._index.invlists.get_codes(number)
        flat = faiss.rev_swig_ptr(codes, self._index.get_list_size(number) * self._index.code_size)
        return np.asarray(flat).reshape(-1, self._index.code_size)
