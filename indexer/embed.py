"""Batches of photos through the model, in as many streams as that is fast.

On a CPU each core takes batches of its own, instead of all cores sharing each batch: cores that decode photos in
between then keep no other core waiting. On a GPU one batch after another goes through, while the last is recorded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from indexer.pipeline import ReadFile

if TYPE_CHECKING:
    from search.models.encoder import Encoder
    from search.vectors.protocol import Floats

_MOST_STREAMS = 8  # each holds the activations of a batch


def batches(files: Iterable[ReadFile], size: int) -> Iterator[list[ReadFile]]:
    """Group files so that `size` of a group have pixels; where few have, a group ends after 16 times as many files."""
    batch: list[ReadFile] = []
    ready = 0
    for file in files:
        batch.append(file)
        ready += file.pixels is not None
        if ready == size or len(batch) == 16 * size:
            yield batch
            batch, ready = [], 0
    if batch:
        yield batch


def embed(encoder: Encoder, groups: Iterable[list[ReadFile]]) -> Iterator[tuple[list[ReadFile], Floats]]:
    """Each group with the embeddings, float32[m, d], of those of its files that have pixels; in the given order."""
    import torch

    threads = torch.get_num_threads()
    streams = min(threads, _MOST_STREAMS) if encoder.device == "cpu" else 1
    # torch keeps this number for each thread, and what was set last for threads to come.
    pool = ThreadPoolExecutor(streams, "embed", torch.set_num_threads, (threads // streams,))
    waiting: deque[tuple[list[ReadFile], Future[Floats]]] = deque()
    try:
        for group in groups:
            waiting.append((group, pool.submit(_vectors, encoder, group)))
            if len(waiting) > streams:
                done, vectors = waiting.popleft()
                yield done, vectors.result()
        while waiting:
            done, vectors = waiting.popleft()
            yield done, vectors.result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def _vectors(encoder: Encoder, group: list[ReadFile]) -> Floats:
    pixels = [file.pixels for file in group if file.pixels is not None]
    if not pixels:
        return np.empty((0, encoder.dim), np.float32)
    return encoder.embed_images(np.stack(pixels))
