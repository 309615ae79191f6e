"""Exact search with FAISS: every vector is compared with every query."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from search.vectors.protocol import Floats, Keys
from search.vectors.selection import Bits, Remembered, best_first, contained, held


class FlatIndex:
    """A `VectorIndex` over half precision, in which the catalog keeps embeddings too, so that they stay what they are:
    FAISS reads half as much memory as with `IndexFlatIP`, and searches in a third of its time. It is never changed once
    made, so threads may share it."""

    is_exact = True

    def __init__(self, keys: Keys, vectors: Floats | None = None, *, index: Any = None) -> None:
        """Hold `vectors` (float32[n, d]), or a ready FAISS `index` of them, under the photo `keys` (int64[n])."""
        if index is None:
            assert vectors is not None
            index = _empty(vectors.shape[1])
            index.add(np.ascontiguousarray(vectors, dtype=np.float32))
        if index.ntotal != len(keys):
            raise ValueError(f"{len(keys)} keys for {index.ntotal} vectors")
        self._index = index
        self._keys = np.ascontiguousarray(keys, dtype=np.int64)
        self._selections = Remembered(self._selection)

    @classmethod
    def of(cls, chunks: Iterable[tuple[Keys, Floats, int]], dimensions: int) -> FlatIndex:
        """Hold all that `search.vectors.stored.chunks` yields."""
        index, keys = _empty(dimensions), [np.empty(0, np.int64)]
        for some, vectors, _ in chunks:
            index.add(vectors)
            keys.append(some)
        return cls(np.concatenate(keys), index=index)

    @property
    def keys(self) -> Keys:
        """See `VectorIndex.keys`."""
        return self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def search(self, queries: Floats, k: int, *, allowed: Keys | None = None) -> tuple[Floats, Keys]:
        """See `VectorIndex.search`."""
        import faiss

        bits, candidates = (None, len(self)) if allowed is None else self._selections.of(allowed)
        k = min(k, candidates)
        if k <= 0:
            empty = (len(queries), 0)
            return np.empty(empty, np.float32), np.empty(empty, np.int64)
        parameters = faiss.SearchParameters(sel=bits.selector) if bits else None  # type: ignore[call-arg]
        scores, places = self._index.search(np.ascontiguousarray(queries, np.float32), k, params=parameters)
        keys = np.where(places >= 0, self._keys[places], -1)
        return best_first(np.where(places >= 0, scores, -np.inf).astype(np.float32), keys)

    def _selection(self, allowed: Keys) -> tuple[Bits | None, int]:
        """What selects those allowed, None where all are, and how many they are."""
        table = contained(self._keys, allowed)
        count = int(table.sum())
        return (None if count == len(table) else Bits(table)), count

    def vectors(self, keys: Keys) -> tuple[Keys, Floats]:
        """See `VectorIndex.vectors`."""
        places, rows = held(self._keys, self._by_key, keys)
        return places, self._index.reconstruct_batch(rows)

    @functools.cached_property
    def _by_key(self) -> Keys:
        return np.argsort(self._keys)

    def write(self, folder: Path) -> None:
        """Write the index as two files into `folder`.

        Raises:
            OSError: they cannot be written.
        """
        import faiss

        try:
            faiss.write_index(self._index, str(folder / "index.faiss"))
        except RuntimeError as error:  # its own way to say so
            raise OSError(str(error)) from error
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


def _empty(dimensions: int) -> Any:
    import faiss

    index = faiss.IndexScalarQuantizer(dimensions, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index.is_trained = True  # there is nothing to be learned
    return index
