"""An image tower on a GPU: what photos go through on their way there and back."""

from __future__ import annotations

import copy
import logging
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from search.models.gpu import Gpu, Work

if TYPE_CHECKING:
    import torch

    from search.models.preprocess import Preprocess

logger = logging.getLogger("sightline.models")
AT_ONCE = 2
"""Batches that a GPU is given: while one computes, the next is put into pinned memory and waits its turn, and what was
made of the last is recorded."""
_ALIKE = 0.999


class ImageTower:
    """From pixels in memory to embeddings in memory, through one GPU. `AT_ONCE` threads may use it."""

    def __init__(self, gpu: Gpu, visual: Any, preprocess: Preprocess, dtype: torch.dtype) -> None:
        """`visual` is open_clip's image tower, on the device already; all but norms computes in `dtype`."""
        import torch

        self.gpu = gpu
        self._visual = visual
        self._dtype = dtype
        self._size = preprocess.size
        self._mean = torch.tensor(preprocess.mean, device=gpu.place).mul_(255).view(1, 3, 1, 1)
        self._std = torch.tensor(preprocess.std, device=gpu.place).mul_(255).view(1, 3, 1, 1)
        self._turn = threading.Lock()
        self._recorded: tuple[int, Work | None] = 0, None
        self._buffers: queue.SimpleQueue[_Buffers] = queue.SimpleQueue()
        for _ in range(AT_ONCE):
            self._buffers.put(_Buffers(gpu))

    def copied_to(self, gpu: Gpu, preprocess: Preprocess) -> ImageTower:
        """The same tower on another GPU."""
        return ImageTower(gpu, copy.deepcopy(self._visual).to(gpu.place), preprocess, self._dtype)

    def embed(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """uint8 [n, height, width, 3], n at least 1, to float32 [n, d], L2-normalised."""
        buffers = self._buffers.get()
        try:
            waiting = buffers.filled(batch)
            with self._turn, self._computing():
                vectors = buffers.room_for(self._work(waiting.to(self.gpu.place, non_blocking=True)))
                wait = self.gpu.finished()
            wait()
            # A copy: the next batch's will lie there.
            result: npt.NDArray[np.float32] = vectors.numpy().copy()
            return result
        finally:
            self._buffers.put(buffers)

    def record(self, size: int) -> None:
        """Let batches of so many photos, those that come most, be launched as one; others are computed as they come.
        Where that cannot be done, or makes other embeddings, all are."""
        import torch

        if self._recorded[0] == size:
            return
        self._recorded = size, None  # and the memory that an earlier one has held is free
        generator = torch.Generator().manual_seed(0)
        shape = (size, *self._size, 3)
        with self._turn, self._computing():
            try:
                example = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).to(self.gpu.place)
                work = self.gpu.recorded(self._embedded, example)
                alike = (work(example) * self._embedded(example)).sum(dim=1).min().item()
                if not alike > _ALIKE:
                    raise RuntimeError(f"its embeddings differ (cosine {alike:.4f})")
                self._recorded = size, work
            except Exception as error:  # whatever a tower does that cannot be recorded
                reason = str(error).partition("\n")[0]
                logger.warning("batches are not recorded on %s, which takes longer: %s", self.gpu.place, reason)

    def _work(self, pixels: torch.Tensor) -> torch.Tensor:
        size, recorded = self._recorded
        return recorded(pixels) if recorded is not None and len(pixels) == size else self._embedded(pixels)

    def _embedded(self, pixels: torch.Tensor) -> torch.Tensor:
        import torch

        # [n, h, w, 3] seen as [n, 3, h, w] is channels last already.
        batch = pixels.permute(0, 3, 1, 2).to(torch.float32).sub_(self._mean).div_(self._std)
        return torch.nn.functional.normalize(self._visual(batch).float(), dim=-1)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        import torch

        half = self._dtype != torch.float32
        # The cache would keep casts of one batch for the next, and cannot be recorded.
        autocast = torch.autocast(self.gpu.kind, dtype=self._dtype, cache_enabled=False) if half else nullcontext()
        with self.gpu.current(), torch.inference_mode(), autocast:
            yield


class _Buffers:
    """Pinned memory for one batch and its embeddings, as large as the largest so far."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._pixels: torch.Tensor | None = None
        self._vectors: torch.Tensor | None = None

    def filled(self, batch: npt.NDArray[np.uint8]) -> torch.Tensor:
        """A copy of `batch`."""
        import torch

        if self._pixels is None or len(self._pixels) < len(batch):
            self._pixels = None
            self._pixels = self._gpu.pinned(batch.shape, torch.uint8)
        part = self._pixels[: len(batch)]
        np.copyto(part.numpy(), batch)
        return part

    def room_for(self, vectors: torch.Tensor) -> torch.Tensor:
        """Where `vectors` will lie once what was begun is done."""
        if self._vectors is None or len(self._vectors) < len(vectors):
            self._vectors = self._gpu.pinned(tuple(vectors.shape), vectors.dtype)
        part = self._vectors[: len(vectors)]
        part.copy_(vectors, non_blocking=True)
        return part
