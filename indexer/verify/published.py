"""The vectors of a published generation, left on the disk; and publishing in the place of one that is damaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from indexer.publishing import recall
from indexer.verify.findings import Mending
from search.catalog import model_records, settings
from search.catalog.model_records import ModelRecord
from search.home import Home
from search.milvus import home_address
from search.vectors import generations
from search.vectors.building import Wanted
from search.vectors.generations import Generation
from search.vectors.protocol import Keys

_Vectors = npt.NDArray[np.floating[Any]]
# How FAISS names IndexScalarQuantizer and IndexFlatIP, behind whose heads stand the vectors alone; and what these may
# differ by from the catalog's, whose lengths earlier versions brought to one anew.
_KINDS: dict[bytes, tuple[np.dtype[np.floating[Any]], float]] = {
    b"IxSQ": (np.dtype("<f2"), 0.0),
    b"IxFI": (np.dtype("<f4"), 2e-4),
}


@dataclass(frozen=True)
class Published:
    """The vectors of a generation that keeps them as they are, float16[n, d] (of earlier versions float32), left on the
    disk, and whose they are, int64[n]; `tolerance` is what they may differ by from the catalog's."""

    keys: Keys
    vectors: _Vectors
    order: Keys
    tolerance: float

    @classmethod
    def open(cls, home: Home, generation: Generation, dimensions: int) -> Published | None:
        """Those of a generation that is whole; None of an index that does not keep vectors as they are."""
        folder = home.vectors_dir / generation.folder
        try:
            keys: Keys = np.load(folder / "keys.npy", allow_pickle=False)
            path = folder / "index.faiss"
            with open(path, "rb") as file:
                kind, tolerance = _KINDS.get(file.read(4), (None, 0.0))
            if kind is None:
                return None
            start = path.stat().st_size - kind.itemsize * len(keys) * dimensions
            if start <= 0:
                return None
            vectors: _Vectors = np.memmap(path, kind, "r", start, (len(keys), dimensions))
        except (OSError, ValueError):
            return None
        return cls(keys, vectors, np.argsort(keys), tolerance)

    def places(self, photo_keys: npt.NDArray[Any]) -> Keys:
        """Where the photos stand, int64[n]; -1 for those that it has not."""
        if not len(self.keys):
            return np.full(len(photo_keys), -1, np.int64)
        found = self.order[np.searchsorted(self.keys, photo_keys, sorter=self.order).clip(max=len(self.keys) - 1)]
        return np.where(self.keys[found] == photo_keys, found, -1)


def replace_generation(model: ModelRecord, generation: Generation) -> Callable[[Mending], None]:
    """Delete a damaged generation, and publish another where its model is the one that answers."""

    def mend(mending: Mending) -> None:
        generations.drop(mending.home, mending.connection, generation)
        if generations.newest(mending.connection, model.key) is None or generation.key > _newest(mending, model):
            publish(mending, model)

    return mend


def _newest(mending: Mending, model: ModelRecord) -> int:
    found = generations.newest(mending.connection, model.key)
    return found.key if found else 0


def publish(mending: Mending, model: ModelRecord) -> None:
    """Publish what the catalog has now, where this model is the one that answers; forget what was published of
    another, which then goes without."""
    active = model_records.active(mending.connection)
    if active is None or active.key != model.key:
        for generation in generations.of_model(mending.connection, model.key):
            generations.drop(mending.home, mending.connection, generation)
        return
    if home_address.remembered(mending.connection) is not None:
        return  # see `indexer.verify.milvus`
    mending.progress.stage("publish", None)
    generations.publish(mending.home, mending.connection, model, Wanted(recall(mending.connection)))
    with mending.transaction():
        settings.grow_revision(mending.connection)
