"""What every vector index can do, whichever engine is behind it."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Keys = npt.NDArray[np.int64]


class VectorIndex(Protocol):
    """Nearest neighbours by inner product over embeddings of unit length, so that a score is a cosine."""

    @property
    def is_exact(self) -> bool:
        """Whether its scores are the cosines, and nothing is missed; else whoever asks compares the best ones anew."""
        ...

    @property
    def keys(self) -> Keys:
        """int64[n], the photo of each vector."""
        ...

    def __len__(self) -> int:
        """How many vectors it holds."""
        ...

    def search(self, queries: Floats, k: int, *, allowed: Keys | None = None) -> tuple[Floats, Keys]:
        """The `k` best photos for each query, best first, ties by the smaller key.

        Args:
            queries: float32[n, d].
            k: how many to return; fewer come back where fewer are held or allowed.
            allowed: int64[m], the only photo keys that may answer; None allows all. The filter is applied while
                searching, so that it never costs an answer.

        Returns:
            scores float32[n, j] and photo keys int64[n, j], with j <= k; unfilled places are -inf and -1.
        """
        ...

    def vectors(self, keys: Keys) -> tuple[Keys, Floats]:
        """The vectors of those of the photos `keys` (int64[n]) that it holds: their places in `keys`, int64[m], and
        float32[m, d]."""
        ...
