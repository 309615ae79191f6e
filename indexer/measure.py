"""What embedding costs on a CPU, measured as it happens: the time, and the model's share of the processors' time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from search.catalog import pace
from search.catalog.model_records import ModelRecord

if TYPE_CHECKING:
    from sqlite_utils import Database

    from indexer.decoding.decoders import Decoders
    from search.models.encoder import Encoder

_ENOUGH = 256
"""Photos; fewer say more of a run's first seconds than of the photos."""


class EmbeddingMeter:
    """Measures one `embed` stage.

    Attributes:
        model_seconds: processor time that batches took in the model, for `embed` to add to.
    """

    def __init__(self, files: int, decoders: Decoders) -> None:
        """Begin, with so many files to come, which `decoders` decode."""
        self._files = files
        self._decoders = decoders
        self._began = time.perf_counter(), self._processor()
        self.model_seconds: list[float] = []

    def keep(self, database: Database, encoder: Encoder, model: ModelRecord, embedded: int) -> None:
        """Keep what a photo has cost, if the stage was long enough and most of its files were embedded: those that only
        moved cost next to nothing. On a GPU nothing can be told of other models."""
        if encoder.device != "cpu" or embedded < max(_ENOUGH, 0.9 * self._files):
            return
        wall, processor = time.perf_counter() - self._began[0], self._processor() - self._began[1]
        with database.atomic():
            share = min(1.0, sum(self.model_seconds) / processor)
            pace.put(database.conn, model.key, encoder.precision, wall / embedded, share)

    def _processor(self) -> float:
        return time.process_time() + self._decoders.pool.seconds
