"""The executor of one machine: threads that read, processes that decode, and the model, in the process of the run."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from indexer.executors.protocol import Group
from indexer.known import KnownPhotos
from indexer.measure import EmbeddingMeter
from indexer.pipeline import FILES_A_TASK, ReadAhead
from indexer.scan import FoundFile

if TYPE_CHECKING:
    from indexer.decoding.decoders import Decoders
    from search.models.encoder import Encoder


class LocalExecutor:
    """Embeds here. What it yields is in the order of the files."""

    def __init__(self, decoders: Decoders, batch_size: int | None, files: int) -> None:
        """Have photos decoded by `decoders`, which start now for so many `files`: the model is loaded meanwhile."""
        self.waits: list[str] = []
        self.meter: EmbeddingMeter | None = None
        self._decoders = decoders
        self._batch_size = batch_size
        # One for every few photos, so that few are not kept waiting by many.
        decoders.pool.start(math.ceil(files / FILES_A_TASK))

    def embed(self, encoder: Encoder, files: Sequence[FoundFile], known: KnownPhotos) -> Generator[Group]:
        """See `Executor.embed`."""
        from indexer.decoding.gpu import decoders_for
        from indexer.embed import embed, look_ahead

        with ExitStack() as stack:  # however it ends, threads and processes end too
            on_gpus = decoders_for(encoder.device, files, self._decoders)
            read = ReadAhead(  # which goes on while the model is compiled
                files,
                encoder.preprocess,
                self._decoders,
                known=known,
                look_ahead=look_ahead(encoder.device, self._batch_size),
                on_gpus=on_gpus,
            )
            stack.enter_context(closing(read))
            if on_gpus is not None:
                stack.callback(on_gpus.close)  # before `read`, whose threads may wait for them
            self.meter = EmbeddingMeter(len(files), self._decoders)
            embedded = embed(encoder, read, len(files), self._batch_size, self.meter.model_seconds)
            yield from stack.enter_context(closing(embedded))

    def close(self) -> None:
        """Nothing is held: the decoders are the run's."""
