"""Where a model runs and in which numbers: what is fastest of what is safe."""

from __future__ import annotations

import contextlib
import ctypes
import sys

from search.errors import ModelError
from search.models import gpu, openvino_runtime

DEVICES = ("auto", "cpu", "cuda")
_NO_MEMORY = (
    "out of memory",
    "out_of_memory",
    "can't allocate memory",
    "failed to allocate",
    "bad_alloc",
    # cuBLAS and cuDNN, which take memory of their own.
    "status_alloc_failed",
    "device_allocation_failed",
)
PRECISIONS = ("auto", "fp32", "bf16", "fp16")


def choose_device(device: str = "auto") -> str:
    """`"cpu"` or `"cuda"`; `"auto"` takes the GPU where there is one.

    Raises:
        ModelError: the device is unknown or not there.
    """
    if device not in DEVICES:
        raise ModelError(f"There is no device “{device}”: use one of {', '.join(DEVICES)}.")
    if device == "cpu" or (device == "auto" and not _has_driver()):
        return "cpu"
    if gpu.visible_gpus():
        return "cuda"
    if device == "auto":
        return "cpu"
    import torch

    build = "sees no NVIDIA GPU" if torch.version.cuda else "was built without CUDA"
    raise ModelError(f"The device cuda was asked for, but PyTorch {build} here: use `--device cpu` or `--device auto`.")


def choose_precision(precision: str, device: str) -> str:
    """`"fp32"`, `"bf16"` or `"fp16"` for `device` (as `choose_device` gives it).

    `"auto"` is bf16 where the processor computes it natively (elsewhere it is emulated, and slower than
    fp32), fp16 on older GPUs, else fp32. fp16 is for GPUs alone: CPUs gain nothing from its narrow range.

    Raises:
        ModelError: the precision is unknown, or fp16 was asked for on a CPU.
    """
    if precision not in PRECISIONS:
        raise ModelError(f"There is no precision “{precision}”: use one of {', '.join(PRECISIONS)}.")
    if precision == "fp16" and device == "cpu":
        raise ModelError("The precision fp16 needs a GPU: on a CPU use `--precision auto`, bf16 or fp32.")
    if precision != "auto":
        return precision
    if device == "cuda":
        return "bf16" if gpu.visible_gpus()[0].computes_bf16 else "fp16"
    return "bf16" if _cpu_has_bf16() else "fp32"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or the machine had no memory left: PyTorch says so in a kind of its own on a GPU, and both
    runtimes in words on the CPU."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(word in text for word in _NO_MEMORY)
    )


def free_memory() -> None:
    """Give back what PyTorch keeps of the GPUs' memory for itself; outside of any handler, for an exception holds on to
    the tensors of what failed."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        with contextlib.suppress(RuntimeError):  # what failed may have left a recording open
            torch.cuda.empty_cache()


def _has_driver() -> bool:
    """Whether there is NVIDIA's driver, without which there is no use in asking PyTorch, which takes seconds."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _cpu_has_bf16() -> bool:
    if openvino_runtime.is_wanted():
        return openvino_runtime.computes_bf16()
    import torch

    # Private functions, so each may be missing from another version of PyTorch; then fp32 is the safe answer.
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        probe = getattr(torch.cpu, name, None)
        if probe is not None and probe():
            return True
    return False
