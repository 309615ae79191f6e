"""The photos that a model has embedded already: a file that holds one of them need not be decoded."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator

from search.catalog import changes
from search.catalog.connection import connect_to_read
from search.catalog.model_records import ModelRecord
from search.home import Home


class KnownPhotos:
    """Whether the model has embedded a photo already; asked by many threads, so each has a connection of its own."""

    def __init__(self, home: Home, connection: sqlite3.Connection, model: ModelRecord) -> None:
        """Look into the catalog of `home`, to which `connection` leads."""
        self._home = home
        self._connection = connection
        self._model = model
        self._local = threading.local()
        # Most first runs find nothing twice; they are spared a question for each photo.
        self._any = connection.execute("SELECT 1 FROM embeddings WHERE model_key = ? LIMIT 1", (model.key,)).fetchone()

    def __call__(self, photo_id: str) -> bool:
        """Whether the model has embedded the photo with this id."""
        if not self._any:
            return False
        if not hasattr(self._local, "connection"):
            self._local.connection = connect_to_read(self._home)
        return changes.embedded_photo(self._local.connection, self._model.key, photo_id) is not None

    def of_sizes(self, sizes: Iterable[int]) -> Iterator[str]:
        """The ids of all photos that files of these `sizes` (bytes) may hold, for whoever cannot ask the catalog."""
        if not self._any:
            return
        wanted = set(sizes)
        rows = self._connection.execute(
            "SELECT id, bytes FROM photos JOIN embeddings ON photo_key = photos.key WHERE model_key = ?",
            (self._model.key,),
        )
        yield from (identity for identity, size in rows if size in wanted)
