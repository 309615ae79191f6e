"""Which of an index's vectors may answer, as FAISS asks for it, and in which order they do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from search.vectors.protocol import Floats, Keys

Flags = npt.NDArray[np.bool_]
Made = TypeVar("Made")
_REMEMBERED = 2  # that of all photos that are there, and that of the filter which is asked with at the moment


def contained(keys: Keys, allowed: Keys) -> Flags:
    """Which of `keys` are among those `allowed`: bool[n]."""
    # A table indexed by key is faster than a search in a sorted list, and keys are small whole numbers.
    highest = max(int(keys.max(initial=0)), int(allowed.max(initial=0)))
    table = np.zeros(highest + 1, dtype=np.bool_)
    table[allowed] = True
    return table[keys]


def distinct(keys: Keys) -> Keys:
    """Each of the keys once, int64[m], sorted. For many of them this is many times as quick as `np.unique` in those
    versions of numpy that hash."""
    found = np.sort(keys)
    return found[np.diff(found, prepend=-1) != 0] if len(found) else found


def held(keys: Keys, by_key: Keys, asked: Keys) -> tuple[Keys, Keys]:
    """Those of the photos `asked` that are among `keys`, which `by_key` puts in order: their places in both."""
    if not len(keys):
        return keys, keys
    found = by_key[np.searchsorted(keys, asked, sorter=by_key).clip(max=len(keys) - 1)]
    places = np.flatnonzero(keys[found] == asked)
    return places, found[places]


def best_first(scores: Floats, keys: Keys) -> tuple[Floats, Keys]:
    """Both, float32[n, k] and int64[n, k], with the highest scores of each row first, ties by the smaller key."""
    order = np.lexsort((keys, -scores), axis=-1)
    return np.take_along_axis(scores, order, axis=-1), np.take_along_axis(keys, order, axis=-1)


class Bits:
    """A FAISS selector of those whose number stands for True in a table, and the memory that it only borrows."""

    def __init__(self, table: Flags) -> None:
        """Select the numbers n with table[n], bool[m]."""
        import faiss

        self._bits = np.packbits(table, bitorder="little")
        self.selector: Any = faiss.IDSelectorBitmap(len(self._bits), faiss.swig_ptr(self._bits))


class Remembered(Generic[Made]):
    """What was made of the arrays that were last given. Most searches are for the same array of all photos, so that it
    is told by being the same object; nobody changes one. Threads may share it."""

    def __init__(self, make: Callable[[Keys], Made]) -> None:
        """Call `make` for arrays that are new."""
        self._make = make
        self._lock = threading.Lock()
        self._last: tuple[tuple[Keys, Made], ...] = ()

    def of(self, allowed: Keys) -> Made:
        """What `make` says of it."""
        with self._lock:
            for pair in self._last:
                if pair[0] is allowed:
                    self._last = (pair, *(other for other in self._last if other is not pair))
                    return pair[1]
        made = self._make(allowed)
        with self._lock:
            self._last = ((allowed, made), *self._last)[:_REMEMBERED]
        return made
