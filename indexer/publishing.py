"""When a run publishes what it has embedded, and what it asks of the vector index."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING

from indexer.progress import Progress
from search.catalog import model_records, settings
from search.catalog.model_records import ModelRecord
from search.embedded_texts import embedded_sentences
from search.errors import MilvusError
from search.home import Home
from search.milvus import home_address
from search.vectors import generations
from search.vectors.building import RECALL, Wanted

if TYPE_CHECKING:
    from sqlite_utils import Database

    from indexer.report import IndexReport
    from search.milvus.touched import Touched
    from search.models.encoder import Encoder
    from search.vectors.generations import Generation
    from search.vectors.protocol import Floats

_RECALL = "recall"
_A_LONG_RUN = 50_000
"""After so many embeddings a long run publishes, so that readers need not gather too much from the catalog; or after a
tenth of them all, where that is more: a large index takes longer to write."""
_SMALL_RUNS = 5_000
"""After so many embeddings that came in small runs one of them publishes: a generation is written as a whole, which no
single photo is worth."""
_LITTLE = 1_000
"""One in so many is too little for any run to publish."""


def recall(connection: sqlite3.Connection) -> float:
    """The share of the nearest photos that indexes of this home are to find."""
    try:
        kept = float(settings.get(connection, _RECALL) or RECALL)
    except ValueError:
        return RECALL
    return kept if 0 < kept <= 1 else RECALL


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
        touched: Touched | None = None,
    ) -> None:
        """`encoder` loads a model at the first need; `timed` surrounds a stage with its name and its extent; `touched`
        knows what the run has changed, for Milvus."""
        self._touched = touched
        self._home, self._connection = home, database.conn
        self._encoder, self._progress, self._stage = encoder, progress, timed

    def in_a_long_run(self, model: ModelRecord, embedded: int) -> bool:
        """Publish if so many embeddings since the last time are worth it. Whether it did; it belongs to the stage that
        embeds."""
        newest = generations.newest(self._connection, model.key)
        if embedded <= max(_A_LONG_RUN, newest.photos // 10 if newest else 0):
            return False
        if home_address.remembered(self._connection) is None:
            self._publish(model, lambda done: None)
        elif model == model_records.active(self._connection):
            with suppress(MilvusError):  # said at the end, if it is so then
                self._publish(model, lambda done: None)
        return True

    def at_the_end(self, model: ModelRecord, *, small: bool) -> None:
        """Publish what is not published yet, but for a little, which readers gather from the catalog as soon; and again
        where the files are gone, or more or less than before is asked of the index. What is kept in Milvus has its own
        time, `show`."""
        if home_address.remembered(self._connection) is not None:
            return
        newest = generations.newest(self._connection, model.key)
        little = max(_SMALL_RUNS if small else 1, newest.photos // _LITTLE if newest else 0)
        waiting = generations.unpublished(self._connection, model.key)
        if waiting >= little or (newest is not None and not small and not self._is_as_wanted(newest)):
            with self._stage("publish", None):
                self._publish(model, lambda done: self._progress.advance(done, 0))

    def show(self, report: IndexReport) -> None:
        """Bring what Milvus holds to what is committed, where the home keeps its vectors there: captions and tags, too.
        Where that fails, nothing is lost: `report.waits` says why, and the next run does it."""
        active = model_records.active(self._connection)
        if active is None or home_address.remembered(self._connection) is None:
            return
        try:
            with self._stage("publish", None):
                self._publish(active, lambda done: self._progress.advance(done, 0))
        except MilvusError as error:
            sentence = f"{error} The photos are in the catalog; the next run brings them there."
            if sentence not in report.waits:
                report.waits.append(sentence)
                self._progress.say(sentence)

    def _publish(self, model: ModelRecord, advance: Callable[[int], None]) -> None:
        address = home_address.remembered(self._connection)
        if address is not None:
            from search.milvus import publishing  # here: few homes keep their vectors there

            publishing.publish(self._home, self._connection, model, address, advance, touched=self._touched)
            return

        def texts() -> Floats:
            return embedded_sentences(model, lambda: self._encoder(model))

        wanted = Wanted(recall(self._connection), texts, advance)
        generations.publish(self._home, self._connection, model, wanted)

    def _is_as_wanted(self, newest: Generation) -> bool:
        if not generations.is_there(self._home, newest):
            return False
        wanted = recall(self._connection)
        if newest.photos <= generations.EXACT_UP_TO or wanted >= 1:
            return generations.is_exact(newest)
        tuning = generations.tuning(self._home, newest)
        return tuning is not None and tuning.target == wanted and "texts" in tuning.recall
