"""Exact search over few embeddings, without FAISS: a search on the command line would wait longer for its import."""

from __future__ import annotations

import numpy as np

from search.vectors.protocol import Floats, Keys
from search.vectors.selection import best_first, contained, held

FEW = 5_000
"""So many vectors are compared with a query in about a millisecond."""


class MatrixIndex:
    """A `VectorIndex` that is one product of matrices. It is never changed once made, so threads may share it."""

    is_exact = True

    def __init__(self, keys: Keys, vectors: Floats) -> None:
        """Hold `vectors` (float32[n, d]) under the photo `keys` (int64[n])."""
        if len(keys) != len(vectors):
            raise ValueError(f"{len(keys)} keys for {len(vectors)} vectors")
        self._keys = keys
        self._vectors = vectors
        self._by_key = np.argsort(keys)

    @property
    def keys(self) -> Keys:
        """See `VectorIndex.keys`."""
        return self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def search(self, queries: Floats, k: int, *, allowed: Keys | None = None) -> tuple[Floats, Keys]:
        """See `VectorIndex.search`."""
        places = np.arange(len(self)) if allowed is None else np.flatnonzero(contained(self._keys, allowed))
        scores = np.asarray(queries, np.float32) @ self._vectors[places].T
        scores, keys = best_first(scores, np.broadcast_to(self._keys[places], scores.shape))
        return scores[:, :k], keys[:, :k]

    def vectors(self, keys: Keys) -> tuple[Keys, Floats]:
        """See `VectorIndex.vectors`."""
        places, rows = held(self._keys, self._by_key, keys)
        return places, self._vectors[rows]
