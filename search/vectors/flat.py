"""Exact search with FAISS: every vector is compared with every query."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from search.vectors.protocol import Floats, Keys


class FlatIndex:
    """A `VectorIndex` over FAISS's `IndexFlatIP`; it is never changed once made, so threads may share it."""

    def __init__(self, keys: Keys, vectors: Floats | None = None, *, index: Any = None) -> None:
        """Hold `vectors` (float32[n, d]), or a ready FAISS `index` of them, under the photo `keys` (int64[n])."""
        import faiss

        if index is None:
            assert vectors is not None
            index = faiss.IndexFlatIP(vectors.shape[1])
            index.add(np.ascontiguousarray(vectors, dtype=np.float32))
        if index.ntotal != len(keys):
            raise ValueError(f"{len(keys)} keys for {index.ntotal} vectors")
        self._index = index
        self._keys = np.ascontiguousarray(keys, dtype=np.int64)

    @property
    def keys(self) -> Keys:
        """See `VectorIndex.keys`."""
        return self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def search(self, queries: Floats, k: int, *, allowed: Keys | None = None) -> tuple[Floats, Keys]:
        """See `VectorIndex.search`."""
        import faiss

        parameters = None
        candidates = len(self)
        if allowed is not None:
            mask = self._mask(allowed)
            candidates = int(mask.sum())
            bits = np.packbits(mask, bitorder="little")  # kept alive here: the selector only borrows it
            parameters = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(len(mask), faiss.swig_ptr(bits)))  # type: ignore[call-arg]
        k = min(k, candidates)
        if k <= 0:
            empty = (len(queries), 0)
            return np.empty(empty, np.float32), np.empty(empty, np.int64)
        scores, places = self._index.search(np.ascontiguousarray(queries, np.float32), k, params=parameters)
        keys = np.where(places >= 0, self._keys[places], -1)
        scores = np.where(places >= 0, scores, -np.inf).astype(np.float32)
        order = np.lexsort((keys, -scores), axis=-1)
        return np.take_along_axis(scores, order, axis=-1), np.take_along_axis(keys, order, axis=-1)

    def vectors(self, keys: Keys) -> tuple[Keys, Floats]:
        """See `VectorIndex.vectors`."""
        order = self._by_key
        found = order[np.searchsorted(self._keys, keys, sorter=order).clip(max=len(order) - 1)]
        places = np.flatnonzero(self._keys[found] == keys)
        return places, self._index.reconstruct_batch(found[places])

    @functools.cached_property
    def _by_key(self) -> Keys:
        return np.argsort(self._keys)

    def write(self, folder: Path) -> None:
        """Write the index as two files into `folder`."""
        import faiss

        faiss.write_index(self._index, str(folder / "index.faiss"))
        np.save(folder / "keys.npy", self._keys)

    @classmethod
    def read(cls, folder: Path) -> FlatIndex:
        """Read what `write` wrote.

        Raises:
            OSError, RuntimeError, ValueError: the files are missing or damaged.
        """
        import faiss

        keys: Keys = np.load(folder / "keys.npy", allow_pickle=False)
        return cls(keys, index=faiss.read_index(str(folder / "index.faiss")))

    def _mask(self, allowed: Keys) -> np.ndarray[Any, np.dtype[np.bool_]]:
        # A table indexed by key is faster than a search in a sorted list, and keys are small whole numbers.
        highest = max(int(self._keys.max(initial=0)), int(allowed.max(initial=0)))
        table = np.zeros(highest + 1, dtype=np.bool_)
        table[allowed] = True
        return table[self._keys]
