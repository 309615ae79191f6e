"""What embedding asks of a GPU beside tensors: memory that it copies from by itself, work that is recorded, and word
when work is done."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

Work = Callable[["torch.Tensor"], "torch.Tensor"]
_REHEARSALS = 3
"""So often work is done before it is recorded: libraries choose their kernels, and take memory, at the first times."""


class Gpu:
    """One GPU that this process sees.

    Attributes:
        place: what PyTorch calls it, as `cuda:0`.
    """

    def __init__(self, number: int) -> None:
        self.place = f"cuda:{number}"

    @property
    def kind(self) -> str:
        """What PyTorch calls all devices of this kind."""
        return self.place.partition(":")[0]

    @property
    def model(self) -> str:
        """What its maker calls it."""
        import torch

        return torch.cuda.get_device_properties(self.place).name

    @property
    def computes_bf16(self) -> bool:
        """Whether it computes in bf16 natively. Asked of its properties, which take none of its memory."""
        import torch

        return bool(torch.version.hip) or torch.cuda.get_device_properties(self.place).major >= 8

    def current(self) -> AbstractContextManager[None]:
        """Meanwhile what this thread begins is begun on this one."""
        import torch

        return torch.cuda.device(self.place)

    def pinned(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """Memory of the machine that stays where it is, so that the GPU copies while the processor goes on."""
        import torch

        return torch.empty(shape, dtype=dtype, pin_memory=True)

    def finished(self) -> Callable[[], None]:
        """Waits, when it is called, until what was begun before is done. On the device that is current."""
        import torch

        # A thread that waits sleeps: its core may have photos to decode.
        event = torch.cuda.Event(blocking=True)
        event.record()
        wait: Callable[[], None] = event.synchronize
        return wait

    def recorded(self, work: Work, example: torch.Tensor) -> Work:
        """The same work, recorded as a CUDA graph, for tensors like `example`: one launch for all its kernels. What it
        returns is overwritten by the next call.

        Raises:
            RuntimeError: the work cannot be recorded, or does not fit into memory.
        """
        import torch

        # A recording that fails midway may leave its stream current.
        with self.current(), torch.cuda.stream(torch.cuda.current_stream(self.place)):
            given = example.clone()
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(_REHEARSALS):
                    work(given)
            torch.cuda.current_stream().wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            # On a stream of this GPU: PyTorch's own for recordings is of the GPU that was recorded on first. What other
            # threads do meanwhile is none of the recording.
            with torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
                made = work(given)

        def replay(pixels: torch.Tensor) -> torch.Tensor:
            given.copy_(pixels, non_blocking=True)
            graph.replay()
            return made

        return replay


def visible_gpus() -> list[Gpu]:
    """The GPUs that this process sees; `CUDA_VISIBLE_DEVICES` may hide some."""
    import torch

    return [Gpu(number) for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
