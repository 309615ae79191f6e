"""OpenVINO, which runs models on processors about twice as fast as PyTorch does, and starts in a tenth of its time
(benchmarks/runtimes.py). It is not to be had for every processor; PyTorch serves the others."""

from __future__ import annotations

import importlib
import os
import sys
import threading
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from search.errors import SettingsError

AUTO, PYTORCH = "auto", "pytorch"
_LOADING = threading.Lock()


def is_wanted() -> bool:
    """Whether models are to run in OpenVINO where they can: it is here, and SIGHTLINE_RUNTIME does not say otherwise.

    Raises:
        SettingsError: that variable says something else.
    """
    said = os.environ.get("SIGHTLINE_RUNTIME", "") or AUTO
    if said not in (AUTO, PYTORCH):
        raise SettingsError(f"SIGHTLINE_RUNTIME cannot be “{said}”: it is {AUTO} or {PYTORCH}; or unset it.")
    return said == AUTO and core() is not None


def computes_bf16() -> bool:
    """Whether this processor computes in bf16 natively. Of no worth without OpenVINO."""
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def threads() -> int:
    """Threads that computing may take: as many as OMP_NUM_THREADS says, else as there are processors for us."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    if said.isdigit() and int(said):
        return int(said)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def convert(module: Any, example: Any, file: Path, any_length: bool = False) -> None:
    """Write a network of PyTorch, traced with `example`, to `file` (.xml, with its weights beside it in half precision,
    where they fit into that). The first dimension of what it takes may then have any length, and the second, too, where
    it is to be of `any_length`.

    Raises:
        Exception: whatever PyTorch or OpenVINO say of a network that cannot be converted.
    """
    openvino = _openvino()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    frontend = FrontEndManager().load_by_framework("pytorch")
    with warnings.catch_warnings():
        # PyTorch warns of each shape that it takes for a constant; whether that was right is seen with probes.
        warnings.simplefilter("ignore")
        # Not `openvino.convert_model`, which is the same with telemetry before and after.
        decoder = TorchScriptPythonDecoder(module, example_input=example, trace_kwargs={"check_trace": False})
    model = frontend.convert(frontend.load(decoder))
    shape = openvino.PartialShape([-1, -1 if any_length else example.shape[1], *example.shape[2:]])
    parameter = model.inputs[0].get_node()
    parameter.set_element_type(openvino.Type.u8 if example.element_size() == 1 else openvino.Type.i64)
    parameter.set_partial_shape(shape)
    model.validate_nodes_and_infer_types()
    openvino.save_model(model, file, compress_to_fp16=True)


@cache
def core() -> Any:
    """OpenVINO's `Core`, or None where it is not installed or cannot be loaded."""
    try:
        with _LOADING:
            openvino = _openvino()
            # Its bindings look up numpy when they first need it, and two threads that do so at once wait for each other
            # for ever.
            openvino.Type.f32.to_dtype()
            return openvino.Core()
    except (ImportError, OSError, RuntimeError):
        return None


def _openvino() -> Any:
    # It reports each import and each conversion to its makers, wherever this package is found.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    if "openvino" in sys.modules or "openvino.tools" in sys.modules:
        import openvino

        return openvino
    # Its converter, which it imports with itself, takes half as long as all the rest of it, and is not needed here. It
    # passes over one that is not installed. Whoever uses both in one process finds it where it always is.
    sys.modules["openvino.tools"] = None  # type: ignore[assignment]
    try:
        import openvino
    finally:
        del sys.modules["openvino.tools"]
    openvino.convert_model = _convert_model
    return openvino


def _convert_model(*arguments: Any, **options: Any) -> Any:
    """OpenVINO's own, imported when somebody calls it."""
    return importlib.import_module("openvino.tools.ovc").convert_model(*arguments, **options)
