"""Approximate search with FAISS: inverted lists of vectors in one byte for each dimension, mapped into memory.

Vectors are kept in the list of the centroid that is nearest to them (Jégou et al., “Product Quantization for Nearest
Neighbor Search”, PAMI 2011), as their difference from it. A query goes through the lists that promise the most until it
has seen as many vectors as the index was tuned for (`search.vectors.recall`). Among vectors that pass a filter it sees
as many, whichever lists they lie in: what a filter leaves of few photos is searched whole.
"""

from __future__ import annotations

import functools
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from search.vectors.protocol import Floats, Keys
from search.vectors.selection import Bits, Remembered, best_first

FILE = "inverted.faiss"
_KEYS, _TUNING = "keys.npy", "tuning.json"
_DEEP = 8
"""A list of k hits is looked for among so many times k vectors at least; where k is large, among 2 k more than else."""
_FARTHEST = 8
"""So many times as far a query looks at most behind a filter that leaves out what is near."""


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
    tuning = Tuning(**json.loads((folder / _TUNING).read_text(encoding="utf-8")))
    numbers = (tuning.visited, tuning.breadth, tuning.target, tuning.visited_once, tuning.photos_once)
    recall = tuning.recall if isinstance(tuning.recall, dict) else {"": None}
    if not all(isinstance(number, (int, float)) for number in (*numbers, *recall.values())):
        raise ValueError(f"no tuning is in {folder}")
    return tuning


class InvertedIndex:
    """A `VectorIndex` over FAISS's `IndexIVFScalarQuantizer`; it is never changed, so threads may share it."""

    is_exact = False

    def __init__(self, index: Any, tuning: Tuning, keys: Keys) -> None:
        """Search FAISS's `index` as `tuning` says. Its numbers are photo keys, int64[n]: `keys`, in the order of lists
        (`keys_by_list`).

        Raises:
            ValueError: they do not belong together.
        """
        import faiss

        self._index, self.tuning = index, tuning
        self._centroids: Floats = faiss.downcast_index(index.quantizer).reconstruct_n(0, index.nlist)
        self._spread = np.square(self._centroids).sum(axis=1)
        self._sizes = _sizes(index)
        numbers = np.repeat(np.arange(index.nlist, dtype=np.int32), self._sizes)
        if len(keys) != index.ntotal:
            raise ValueError(f"{len(keys)} keys for {index.ntotal} vectors")
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
        visited = max(tuning.visited, min(_DEEP * k, tuning.visited + 2 * k))
        lists, centroid_scores = self._visited(queries, visited, tuning, chosen)
        scores, keys = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
        parameters = faiss.SearchParametersIVF(  # type: ignore[call-arg]
            nprobe=lists.shape[1], sel=chosen.bits.selector if chosen.bits else None
        )
        pointers = [faiss.swig_ptr(array) for array in (lists, centroid_scores, scores, keys)]
        # `search_preassigned` takes no selector in Python.
        self._index.search_preassigned_c(len(queries), faiss.swig_ptr(queries), k, *pointers, False, parameters)
        # What no key is known for: places that were not filled, and what a damaged file makes of a number.
        keys[(keys < 0) | (keys >= len(self._list)) | (self._list[keys.clip(0, len(self._list) - 1)] < 0)] = -1
        return best_first(np.where(keys >= 0, scores, -np.inf).astype(np.float32), keys)

    def vectors(self, keys: Keys) -> tuple[Keys, Floats]:
        """See `VectorIndex.vectors`: as they are kept, in a byte for each dimension."""
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
            OSError, RuntimeError, ValueError, TypeError: the files are missing or damaged.
        """
        import faiss

        # FAISS cannot map files on Windows. Elsewhere keys have a file of their own, so that no list is read here.
        how = 0 if os.name == "nt" else faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY
        keys: Keys = np.load(folder / _KEYS, allow_pickle=False)
        return cls(faiss.read_index(str(folder / FILE), how), read_tuning(folder), keys)

    @staticmethod
    def write(folder: Path, index: Any, tuning: Tuning) -> None:
        """Write FAISS's `index` and its tuning into `folder`.

        Raises:
            OSError: they cannot be written.
        """
        import faiss

        try:
            faiss.write_index(index, str(folder / FILE))
        except RuntimeError as error:  # its own way to say so
            raise OSError(str(error)) from error
        np.save(folder / _KEYS, keys_by_list(index))
        (folder / _TUNING).write_text(json.dumps(asdict(tuning)), encoding="utf-8")

    def _visited(self, queries: Floats, visited: int, tuning: Tuning, chosen: _Selection) -> tuple[Keys, Floats]:
        """The most promising lists for each query, int64[n, p], until they hold `visited` vectors that may answer, and
        how near each centroid is, float32[n, p]; -1 in the places of lists that are passed over."""
        near = queries @ self._centroids.T
        # The nearest of vectors that lie far apart is farther from their mean, and may be nearer to the query.
        order = np.argsort(tuning.breadth * self._spread - near, axis=1)
        counts = chosen.counts[order]
        least = np.full(len(queries), visited, np.float64)
        if chosen.bits is not None:
            # Where a filter leaves out what is near, what is left lies farther and closer together.
            sizes = self._sizes[order]
            first = np.cumsum(sizes, axis=1) - sizes < visited
            here = (counts * first).sum(axis=1) / np.maximum((sizes * first).sum(axis=1), 1)
            anywhere = chosen.counts.sum() / self._sizes.sum()
            least *= np.clip(anywhere / np.maximum(here, 1e-12), 1, _FARTHEST)
        wanted = (np.cumsum(counts, axis=1) - counts < least[:, None]) & (counts > 0)
        width = int(wanted.shape[1] - np.argmax(wanted[:, ::-1], axis=1).min())
        lists = np.where(wanted, order, -1)[:, :width]
        return np.ascontiguousarray(lists), np.ascontiguousarray(np.take_along_axis(near, order[:, :width], axis=1))

    def _selection(self, allowed: Keys) -> _Selection:
        table = np.zeros(len(self._list), np.bool_)
        table[allowed[allowed < len(self._list)]] = True
        table &= self._list >= 0
        counts = np.bincount(self._list[table], minlength=len(self._sizes))
        return _Selection(None if np.array_equal(counts, self._sizes) else Bits(table), counts)

    def _codes_of(self, number: int) -> npt.NDArray[np.uint8]:
        """The codes of a list, uint8[n, b], where they lie in the file."""
        import faiss

        codes = self._index.invlists.get_codes(number)
        flat = faiss.rev_swig_ptr(codes, int(self._sizes[number]) * self._index.code_size)
        return np.asarray(flat).reshape(-1, self._index.code_size)


def keys_by_list(index: Any) -> Keys:
    """The numbers of the vectors of FAISS's inverted `index`, list by list: int64[n]."""
    import faiss

    lists = ((number, int(size)) for number, size in enumerate(_sizes(index)) if size)
    found = [faiss.rev_swig_ptr(index.invlists.get_ids(number), size) for number, size in lists]
    return np.concatenate([np.empty(0, np.int64), *found])


def _sizes(index: Any) -> Keys:
    return np.asarray([index.get_list_size(number) for number in range(index.nlist)], np.int64)
