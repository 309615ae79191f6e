"""Batches of photos through the model, in as many streams as that is fast.

On a CPU each core (of more than eight, each few cores) takes batches of its own, instead of all cores sharing each
batch: cores that decode photos in between then keep no other core waiting. On a GPU one batch after another goes
through, while the last is recorded.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import psutil

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
_SMALL, _BATCHES = 8, 4
"""Where photos are few, each core has so many batches, of so many photos at least."""
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
        if streams > 1:
            # Small enough that a short run has work for every core, at once and to its end.
            share = -(-total // streams)
            batch_size = max(1, min(batch_size, _STREAMING // streams, share, max(_SMALL, -(-share // _BATCHES))))
    try:
        encoder.prepare_images()
    except Exception as error:
        if is_out_of_memory(error):
            raise _does_not_fit(encoder) from None
        raise
    in_pytorch = encoder.runtime == "pytorch"
    each = 1
    if in_pytorch:
        import torch

        before = torch.get_num_threads()
        each = -(-before // streams)
        # torch keeps this number for each thread, and what was set last for threads to come.
        pool = ThreadPoolExecutor(streams, "embed", torch.set_num_threads, (each,))
    else:
        pool = ThreadPoolExecutor(streams, "embed")
    elsewhere = _seconds_elsewhere()
    taken: list[float] = []

    def vectors_of(group: list[ReadFile]) -> Floats:
        began = time.thread_time()
        vectors = _vectors(encoder, group)
        # A batch's other threads in PyTorch work as long as the one that waits for them.
        taken.append((time.thread_time() - began) * each)
        return vectors

    waiting: deque[tuple[list[ReadFile], Future[Floats]]] = deque()
    try:
        for group in _groups(files, batch_size):
            waiting.append((group, pool.submit(vectors_of, group)))
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
            if in_pytorch:
                torch.set_num_threads(before)
            if model_seconds is not None:
                in_threads_of_its_own = 0.0 if in_pytorch else max(0.0, _seconds_elsewhere() - elsewhere)
                model_seconds.append(sum(taken) + in_threads_of_its_own)


def streams_on(device: str) -> int:
    """How many batches are in the model side by side."""
    return min(openvino_runtime.threads(), _MOST_STREAMS) if device == "cpu" else 1


def _seconds_elsewhere() -> float:
    """Processor time of this process in threads that are none of Python's, such as those in which OpenVINO computes; 0
    where the system does not tell."""
    ours = {thread.native_id for thread in threading.enumerate()}
    try:
        return float(sum(one.user_time + one.system_time for one in psutil.Process().threads() if one.id not in ours))
    except psutil.Error:
        return 0.0


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
            raise _does_not_fit(encoder) from None
    free_memory()
    middle = len(pixels) // 2
    return np.concatenate([_embed(encoder, pixels[:middle]), _embed(encoder, pixels[middle:])])


def _does_not_fit(encoder: Encoder) -> ModelError:
    return ModelError(
        f"The model {encoder.name} does not fit into the memory of the device {encoder.device}, even with one photo at "
        "a time: use `--device cpu` or a smaller model."
    )
