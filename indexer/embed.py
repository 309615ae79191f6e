"""Batches of photos through the model, in as many streams as that is fast.

On a CPU each core (of more than eight, each few cores) takes batches of its own, instead of all cores sharing each
batch: cores that decode photos in between then keep no other core waiting. On a GPU one batch after another goes
through, while the last is recorded.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from indexer.pipeline import ReadFile
from search.errors import ModelError
from search.models import openvino_runtime
from search.models.device import free_memory, is_out_of_memory

if TYPE_CHECKING:
    from search.models.encoder import Encoder
    from search.vectors.protocol import Floats

BATCH_SIZE = {"cpu": 32, "cuda": 256}
"""Photos in one forward pass: enough to keep the device busy, few enough for its caches or its memory."""
_MOST_STREAMS = 8
_STREAMING = 64
"""Photos in all streams of a CPU together: each holds its activations, and a crash loses them."""


def embed(
    encoder: Encoder,
    files: Iterable[ReadFile],
    total: int,
    batch_size: int | None = None,
    model_seconds: list[float] | None = None,
) -> Generator[tuple[list[ReadFile], Floats]]:
    """Send `files` (about `total`) through the model, `batch_size` photos at a time, by default as many as suit it.
    On a CPU, `model_seconds` gets the processor time that the model took.

    Yields:
        groups of files in their order, each with the embeddings, float32[m, d], of those that have pixels.
    """
    streams = streams_on(encoder.device)
    if batch_size is None:
        batch_size = BATCH_SIZE[encoder.device]
        if streams > 1:  # small enough that a short run has work for every core
            batch_size = max(1, min(batch_size, _STREAMING // streams, -(-total // streams)))
    if encoder.runtime == "pytorch":
        import torch

        before = torch.get_num_threads()
        # torch keeps this number for each thread, and what was set last for threads to come.
        pool = ThreadPoolExecutor(streams, "embed", torch.set_num_threads, (-(-before // streams),))
    else:
        pool = ThreadPoolExecutor(streams, "embed")
    meter = _Meter()

    waiting: deque[tuple[list[ReadFile], Future[Floats]]] = deque()
    try:
        for group in _groups(files, batch_size):
            waiting.append((group, pool.submit(_vectors, encoder, group)))
            if len(waiting) > streams:
                done, vectors = waiting.popleft()
                yield done, vectors.result()
        while waiting:
            done, vectors = waiting.popleft()
            yield done, vectors.result()
    finally:
        try:
            pool.shutdown(cancel_futures=True)
        finally:
            if encoder.runtime == "pytorch":
                torch.set_num_threads(before)
            if model_seconds is not None:
                model_seconds.append(meter.seconds())


def streams_on(device: str) -> int:
    """How many batches are in the model side by side."""
    return min(openvino_runtime.threads(), _MOST_STREAMS) if device == "cpu" else 1


class _Meter:
    """The processor time that this process takes but for the thread that makes it: a model computes in threads of its
    runtime's, of which only the sum is told, and besides it little is done elsewhere."""

    def __init__(self) -> None:
        self._began = self._taken()

    def seconds(self) -> float:
        return max(0.0, self._taken() - self._began)

    def _taken(self) -> float:
        return time.process_time() - time.thread_time()


def _groups(files: Iterable[ReadFile], size: int) -> Iterator[list[ReadFile]]:
    """Group files so that `size` of a group have pixels; where few have, a group ends after 16 times as many files."""
    group: list[ReadFile] = []
    ready = 0
    for file in files:
        group.append(file)
        ready += file.pixels is not None
        if ready == size or len(group) == 16 * size:
            yield group
            group, ready = [], 0
    if group:
        yield group


def _vectors(encoder: Encoder, group: list[ReadFile]) -> Floats:
    pixels = [file.pixels for file in group if file.pixels is not None]
    if not pixels:
        return np.empty((0, encoder.dim), np.float32)
    return _embed(encoder, np.stack(pixels))


def _embed(encoder: Encoder, pixels: npt.NDArray[np.uint8]) -> Floats:
    """The embeddings of a batch; of one that does not fit into the memory of the device, in halves.

    Raises:
        ModelError: not even a single photo fits.
    """
    try:
        return encoder.embed_images(pixels)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        if len(pixels) == 1:
            raise ModelError(
                f"The model {encoder.name} does not fit into the memory of the device {encoder.device}, even with one "
                "photo at a time: use `--device cpu` or a smaller model."
            ) from None
    free_memory()
    middle = len(pixels) // 2
    return np.concatenate([_embed(encoder, pixels[:middle]), _embed(encoder, pixels[middle:])])
