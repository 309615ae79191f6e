"""GPUs for machines that have none: PyTorch's CPU device in their place, through the one seam that `search.models.gpu`
is. What is recorded is replayed as a graph is: into the same memory, for the same shape."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch

from search.models.gpu import Gpu, Work


class FakeGpu(Gpu):
    """One of them. `place` is the CPU; `work` counts what was done: `recorded`, `replayed`, `finished`."""

    computes_bf16 = True
    model = "one of many"

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.place = "cpu"
        self.work: list[str] = []

    def current(self) -> AbstractContextManager[None]:
        return nullcontext()

    def pinned(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype)

    def finished(self) -> Callable[[], None]:
        return lambda: self.work.append("finished")

    def recorded(self, work: Work, example: torch.Tensor) -> Work:
        self.work.append("recorded")
        given, made = example.clone(), work(example)

        def replay(pixels: torch.Tensor) -> torch.Tensor:
            assert pixels.shape == given.shape
            self.work.append("replayed")
            given.copy_(pixels)
            made.copy_(work(given))
            return made

        return replay


def lend(monkeypatch: pytest.MonkeyPatch, *gpus: Gpu) -> None:
    """Let this process see these GPUs."""
    monkeypatch.setattr("search.models.gpu.visible_gpus", lambda: list(gpus))
