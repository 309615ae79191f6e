"""When a run publishes what it has embedded, and what it asks of the vector index."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from indexer.progress import Progress
from search.catalog import settings
from search.catalog.model_records import ModelRecord
from search.embedded_texts import embedded
from search.home import Home
from search.vectors import generations
from search.vectors.building import RECALL, Wanted

if TYPE_CHECKING:
    from sqlite_utils import Database

    from search.models.encoder import Encoder
    from search.vectors.protocol import Floats

_RECALL = "recall"
_A_LONG_RUN = 50_000
"""After so many embeddings a long run publishes, so that readers need not gather too much from the catalog; or after a
tenth of them all, where that is more: a large index takes longer to write."""
_SMALL_RUNS = 5_000
"""After so many embeddings that came in small runs one of them publishes: a generation is written as a whole, which no
single photo is worth."""

_LITTLE = 1_000  # one in so many


def remember_recall(connection: sqlite3.Connection, recall: float) -> None:
    """Let indexes of this home find that share of the nearest photos from now on."""
    settings.put(connection, _RECALL, str(recall))


class Publisher:
    """Publishes in a run."""

    def __init__(
        self,
        home: Home,
        database: Database,
        encoder: Callable[[ModelRecord], Encoder],
        progress: Progress,
        timed: Callable[[str, int | None], AbstractContextManager[None]],
    ) -> None:
        """`encoder` loads a model at the first need; `timed` surrounds a stage with its name and its extent."""
        self._home, self._connection = home, database.conn
        self._encoder, self._progress, self._stage = encoder, progress, timed

    def in_a_long_run(self, model: ModelRecord, embedded: int) -> bool:
        """Publish if so many embeddings since the last time are worth it. Whether it did."""
        newest = generations.newest(self._connection, model.key)
        if embedded <= max(_A_LONG_RUN, newest.photos // 10 if newest else 0):
            return False
        self._publish(model)
        return True

    def at_the_end(self, model: ModelRecord, *, small: bool) -> None:
        """Publish what is not published yet, but for a little, which readers gather from the catalog as soon; and again
        where more, or less, than before is asked of the index."""
        newest = generations.newest(self._connection, model.key)
        little = _SMALL_RUNS if small else max(1, newest.photos // _LITTLE if newest else 1)
        waiting = generations.unpublished(self._connection, model.key)
        if waiting >= little or (not small and not self._is_as_wanted(model)):
            self._publish(model)

    def _publish(self, model: ModelRecord) -> None:
        with self._stage("publish", None):
            wanted = Wanted(self._recall, lambda: self._texts(model), lambda done: self._progress.advance(done, 0))
            generations.publish(self._home, self._connection, model, wanted)

    def _is_as_wanted(self, model: ModelRecord) -> bool:
        newest = generations.newest(self._connection, model.key)
        if newest is None or newest.photos <= generations.EXACT_UP_TO:
            return True
        tuning = generations.tuning(self._home, newest)
        return tuning.target == self._recall if tuning else generations.is_exact(newest) == (self._recall >= 1)

    @property
    def _recall(self) -> float:
        return float(settings.get(self._connection, _RECALL) or RECALL)

    def _texts(self, model: ModelRecord) -> Floats:
        from search.vocabulary import sentences

        return embedded(model, [[sentence] for sentence in sentences()], lambda: self._encoder(model))
