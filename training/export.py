"""The finished model, in open_clip's `local-dir:` layout: configuration and half-precision weights."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def export(folder: Path, config: dict[str, Any], state: dict[str, Tensor], side: int, scale: float = 30.0) -> int:
    """Write `open_clip_config.json` and `open_clip_model.safetensors`; returns the weights' size in bytes.

    Args:
        folder: where to.
        config: as `training.student.configuration` makes it.
        state: the state of the CLIP network.
        side: the pictures' edge in pixels at which the model is to be used.
        scale: the factor of the cosine with which it was trained.
    """
    from safetensors.torch import save_file

    config = json.loads(json.dumps(config))
    config["model_cfg"]["vision_cfg"]["image_size"] = side
    state = {**state, "logit_scale": torch.tensor(math.log(scale))}
    halves = {
        name: value.half().contiguous() if value.is_floating_point() else value.contiguous()
        for name, value in state.items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "open_clip_model.safetensors"
    save_file(halves, weights)
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    return weights.stat().st_size


def export_captioner(config: Path, weights: Path, document: dict[str, Any], state: dict[str, Tensor]) -> int:
    """Write a captioner's shape and vocabulary as JSON and its weights in half precision; returns their bytes."""
    from safetensors.torch import save_file

    config.write_text(json.dumps(document) + "\n", encoding="utf-8")
    save_file({name: value.half().contiguous() for name, value in state.items()}, weights)
    return config.stat().st_size + weights.stat().st_size
