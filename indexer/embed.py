"""Batches of photos through the model, in as many streams as that is fast.

On a CPU each core (of more than eight, each few cores) takes batches of its own, instead of all cores sharing each
batch: cores that decode photos in between then keep no other core waiting. On a GPU one batch after another goes
through, while the last is recorded.
"""

from __future__ import annotations

import logging
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
from search.errors import GpuError, ModelError
from search.models import gpu, openvino_runtime
from search.models.device import free_memory, is_out_of_memory

if TYPE_CHECKING:
    from search.models.encoder import Encoder
    from search.vectors.protocol import Floats

logger = logging.getLogger("sightline.index")
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
    streams = streams_on_cpu() if encoder.device == "cpu" else 1
    if batch_size is None:
        batch_size = BATCH_SIZE[encoder.device]
        if streams > 1:
            # Small enough that a short run has work for every core, at once and to its end.
            share = -(-total // streams)
            batch_size = max(1, min(batch_size, _STREAMING // streams, share, max(_SMALL, -(-share // _BATCHES))))
    try:
        streams = encoder.prepare_images(total, batch_size) or streams
    except Exception as error:
        if is_out_of_memory(error):
            raise _does_not_fit(encoder) from None
        if _is_of_a_gpu(error):
            raise _gpu_failed(error) from error
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
    fitting = _Fitting(encoder)

    def vectors_of(group: list[ReadFile]) -> Floats:
        began = time.thread_time()
        vectors = _vectors(fitting, group)
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


def look_ahead(device: str, batch_size: int | None) -> int:
    """How many files to read ahead of a model there: three batches, for each GPU."""
    devices = len(gpu.visible_gpus()) if device == "cuda" else 1
    return 3 * devices * (batch_size or BATCH_SIZE[device])


def streams_on_cpu() -> int:
    """How many batches are in the model side by side on a CPU."""
    return min(openvino_runtime.threads(), _MOST_STREAMS)


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


def _vectors(fitting: _Fitting, group: list[ReadFile]) -> Floats:
    pixels = [file.pixels for file in group if file.pixels is not None]
    if not pixels:
        return np.empty((0, fitting.encoder.dim), np.float32)
    return fitting.embed(np.stack(pixels))


class _Fitting:
    """Embeds batches: those that do not fit into the memory of the device in halves, and so, from then on, the others.
    Thread-safe."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._most: int | None = None

    def embed(self, pixels: npt.NDArray[np.uint8]) -> Floats:
        """The embeddings of a batch, of at least one photo.

        Raises:
            ModelError: not even a single photo fits, or the GPU failed.
        """
        parts: list[Floats] = []
        at = 0
        while at < len(pixels):
            part = pixels[at : at + (self._most or len(pixels))]
            try:
                parts.append(self.encoder.embed_images(part))
                at += len(part)
                continue
            except Exception as error:
                if not is_out_of_memory(error):
                    if _is_of_a_gpu(error):
                        raise _gpu_failed(error) from error
                    raise
                if len(part) == 1:
                    raise _does_not_fit(self.encoder) from None
            free_memory()
            self._halve(len(part))
        return np.concatenate(parts)

    def _halve(self, size: int) -> None:
        """So many photos did not fit."""
        half = size // 2
        if self._most is None or half < self._most:  # else another thread has found so meanwhile
            self._most = half
            logger.warning("%d photos at once do not fit into memory: %d go through the model", size, half)


def _does_not_fit(encoder: Encoder) -> ModelError:
    return ModelError(
        f"The model {encoder.name} does not fit into the memory of the device {encoder.device}, even with one photo at "
        "a time: use `--device cpu` or a smaller model."
    )


def _is_of_a_gpu(error: Exception) -> bool:
    """Whether CUDA says it, which gives this process the same answer to whatever it asks from then on."""
    return "CUDA error" in str(error)


def _gpu_failed(error: Exception) -> GpuError:
    reason = str(error).partition("\n")[0].rstrip(".")
    return GpuError(
        f"A GPU failed while it embedded photos ({reason}): run the command again, which goes on where this run was, "
        "or use `--device cpu`."
    )
