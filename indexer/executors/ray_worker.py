"""What runs in a worker of a Ray cluster: it loads the model once, and reads, decodes and embeds files as they come."""

from __future__ import annotations

import os
import platform
import threading
import traceback
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from indexer.executors.messages import Ids, Task, is_among
from indexer.executors.shards import answer_table, fault_table, files_of
from search.errors import ModelError, SightlineError

if TYPE_CHECKING:
    import pyarrow as pa
    import ray

    from indexer.decoding.decoders import Decoders
    from indexer.scan import FoundFile
    from search.models.encoder import Encoder


class Loaded:
    """The model and the decoders of one worker."""

    def __init__(self, task: Task) -> None:
        """Load them. Raises `SightlineError`."""
        os.environ.update(task.environment)  # before anything reads them
        from indexer.decoding.decoders import Decoders
        from indexer.embed import streams_on_cpu
        from search.models import openvino_runtime
        from search.models.encoder import load_encoder

        self.encoder: Encoder = load_encoder(
            task.model,
            device=task.device,
            precision=task.precision,
            allow_download=task.download,
            convert=True,
            streams=streams_on_cpu(),
        )
        if (self.encoder.fingerprint, self.encoder.preprocess.fingerprint) != (task.weights, task.preprocessing):
            raise ModelError(
                f"{task.model} is another model there, or gets other pixels: its weights or the version of Sightline "
                "or open_clip differ from those of the machine that indexes. Install the same ones."
            )
        # As many as the cores that Ray has given to this worker.
        self.decoders: Decoders = Decoders.of_process(openvino_runtime.threads())


class EmbedFiles:
    """Called with tables of files (`indexer.executors.shards`), gives tables of what came of them.

    It raises nothing that is foreseen: what keeps a worker from working is an answer, so that Ray tries again only what
    died. Two threads may call it: while the last photos of one table are in the model, those of the next are decoded.
    """

    def __init__(self, task: Task, known: ray.ObjectRef[Ids]) -> None:
        """`known`: where `indexer.executors.messages.packed_ids` lie, which all workers of a machine share."""
        self._task = task
        self._known = known
        self._lock = threading.Lock()
        self._ready: Loaded | None = None

    def __call__(self, table: pa.Table) -> pa.Table:
        """What came of the files of a table."""
        files = files_of(table)
        node = platform.node()
        try:
            return self._embedded(node, files)
        except SightlineError as error:
            return fault_table(node, list(files), f"A worker on {node} cannot embed photos: {error}")
        except Exception as error:  # Ray would try it again, and tell nobody
            return fault_table(node, list(files), "".join(traceback.format_exception(error)), foreseen=False)

    def _embedded(self, node: str, files: dict[int, FoundFile]) -> pa.Table:
        import ray

        from indexer.embed import embed, look_ahead
        from indexer.pipeline import ReadAhead

        ready = self._loaded()
        known = ray.get(self._known)  # mapped, not copied
        encoder, size = ready.encoder, self._task.batch_size
        read = ReadAhead(
            list(files.values()),
            encoder.preprocess,
            ready.decoders,
            known=lambda identity: is_among(known, identity),
            look_ahead=look_ahead(encoder.device, size),
        )
        embedded = embed(encoder, read, len(files), size)
        done, vectors = [], [np.empty((0, encoder.dim), np.float32)]
        with closing(read), closing(embedded):
            for some, of_them in embedded:
                done += some
                vectors.append(of_them)
        return answer_table(node, list(files), done, np.concatenate(vectors))

    def _loaded(self) -> Loaded:
        with self._lock:
            if self._ready is None:
                self._ready = Loaded(self._task)
            return self._ready
