"""Networks that `search.models.openvino_runtime.convert` has written, compiled for this processor.

Compiling is most of the time that a search of a small library takes. What it makes of a network is kept, with a name
that says what it is of and ends in its checksum; what is damaged, or of another processor, is passed over.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from search.models import openvino_runtime
from search.models.device import is_out_of_memory

_MAKING = ".making-"
_STALE_SECONDS = 86_400
logger = logging.getLogger("sightline.models")


class CompiledNetwork:
    """A network ready to compute. Several threads may call it."""

    def __init__(self, file: Path, precision: str, streams: int, keep_in: Path | None = None) -> None:
        """Compile `file` for this processor, which has its threads in `streams` that compute side by side; or read what
        an earlier time has kept in the folder `keep_in`.

        Raises:
            RuntimeError: the file is damaged, or memory is short.
        """
        options = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": max(streams, openvino_runtime.threads()),
            # Other processes work beside this one: decoders, servers, other people's.
            "ENABLE_CPU_PINNING": False,
            # What is kept goes without the weights that are in the file as they are needed.
            "CACHE_MODE": "OPTIMIZE_SIZE",
        }
        weights = file.with_suffix(".bin")
        kept = None if keep_in is None else _Kept(keep_in, f"{file.stem}-{precision}-{_circumstances(weights)}-")
        compiled = kept.read({**options, "WEIGHTS_PATH": str(weights)}) if kept else None
        self._to_keep = kept if compiled is None else None
        if compiled is None:
            compiled = openvino_runtime.core().compile_model(file, "CPU", options)
        self._compiled = compiled
        self._idle: list[Any] = []
        self._lock = threading.Lock()

    def keep(self) -> None:
        """Keep what compiling has made, if this time it has, now that the weights are known to be sound."""
        if self._to_keep is not None:
            self._to_keep.write(self._compiled)
            self._to_keep = None

    def __call__(self, batch: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """What it says of a batch."""
        with self._lock:
            request = self._idle.pop() if self._idle else self._compiled.create_infer_request()
        request.infer([batch], share_inputs=True)
        result: npt.NDArray[np.float32] = np.array(request.get_output_tensor(0).data, dtype=np.float32)
        with self._lock:
            self._idle.append(request)
        return result


class _Kept:
    """What compiling has made of one network in one precision on one kind of processor."""

    def __init__(self, folder: Path, beginning: str) -> None:
        self._folder = folder
        self._beginning = beginning

    def read(self, options: dict[str, Any]) -> Any:
        """The compiled model, or None where there is none that is whole."""
        for file in self._files():
            try:
                content = file.read_bytes()
                if file.stem == self._name(content):
                    return openvino_runtime.core().import_model(content, "CPU", options)
            except (OSError, RuntimeError) as error:
                if is_out_of_memory(error):
                    raise
                logger.info("%s is passed over: %s", file, error)
        return None

    def write(self, compiled: Any) -> None:
        """Keep it in place of what was kept; or not, where that cannot be."""
        try:
            content = compiled.export_model().getvalue()
            name = f"{self._name(content)}.blob"
            former = [file for file in self._files() if file.name != name]
            self._folder.mkdir(exist_ok=True)
            former += [file for file in self._folder.glob(f"{_MAKING}*") if _is_old(file)]
            descriptor, making = tempfile.mkstemp(dir=self._folder, prefix=_MAKING)
            try:
                with os.fdopen(descriptor, "wb") as stream:
                    stream.write(content)
                os.chmod(making, 0o644)  # a cache may be shared
                os.replace(making, self._folder / name)
            except BaseException:
                os.unlink(making)
                raise
            for file in former:
                file.unlink(missing_ok=True)
        except (OSError, RuntimeError, MemoryError) as error:
            logger.info("what compiling has made cannot be kept in %s: %s", self._folder, error)

    def _files(self) -> list[Path]:
        with suppress(OSError):
            return sorted(self._folder.glob(f"{self._beginning}*.blob"))
        return []

    def _name(self, content: bytes) -> str:
        return self._beginning + hashlib.sha256(content).hexdigest()[:32]


def _is_old(file: Path) -> bool:
    """Whether a file was left by a process that was killed."""
    return time.time() - file.stat().st_mtime > _STALE_SECONDS


def _circumstances(weights: Path) -> str:
    """What tells this kind of processor from others, and weights that were cut short, which nobody would look at the
    size of any more, from whole ones."""
    core = openvino_runtime.core()
    said = [core.get_property("CPU", name) for name in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")]
    size = weights.stat().st_size if weights.exists() else 0
    return hashlib.blake2b(repr([*said, size]).encode(), digest_size=4).hexdigest()
