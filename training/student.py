"""The network to train: a CLIP of open_clip's, and what is added to its image tower while it learns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.recipe import RecipeError
from training.tokens import LENGTH

# ImageNet's mean and standard deviation, which timm's towers expect.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def configuration(tower: str, side: int, width: int = 384) -> dict[str, Any]:
    """An `open_clip_config.json` with timm's `tower` for pictures of `side` pixels and embeddings of `width`."""
    return {
        "model_cfg": {
            "embed_dim": width,
            "vision_cfg": {
                "timm_model_name": tower,
                "timm_model_pretrained": False,
                "timm_pool": "avg",
                "timm_proj": "linear",
                "image_size": side,
            },
            "text_cfg": {"context_length": LENGTH, "vocab_size": 49408, "width": 192, "heads": 3, "layers": 4},
        },
        "preprocess_cfg": {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "squash"},
    }


def build(config: dict[str, Any]) -> Any:
    """A CLIP with random weights.

    Raises:
        RecipeError: timm does not know the tower, or it has no feature map.
    """
    import open_clip

    try:
        return open_clip.CLIP(**config["model_cfg"])
    except (RuntimeError, ValueError, AssertionError) as error:
        raise RecipeError(f"The tower {config['model_cfg']['vision_cfg']['timm_model_name']} fails: {error}") from error


def load(folder: Path) -> tuple[Any, dict[str, Any]]:
    """A CLIP of open_clip's `local-dir:` layout, in fp32, and its configuration.

    Raises:
        RecipeError: the folder holds none.
    """
    from safetensors.torch import load_file

    if not (folder / "open_clip_config.json").exists() or not (folder / "open_clip_model.safetensors").exists():
        raise RecipeError(f"{folder} holds no open_clip_config.json with open_clip_model.safetensors beside it.")
    config: dict[str, Any] = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))
    network = build(config)
    weights = {name: value.float() for name, value in load_file(folder / "open_clip_model.safetensors").items()}
    network.load_state_dict(weights, strict=False)
    return network, config


class ImageStudent(nn.Module):
    """An image tower with the heads that are dropped after training.

    `forward` gives a dict of: `embedding` [n, d] of unit length; `places` [n, components, h, w] and `middle`
    [n, components / 2, 2h, 2w], the teacher's components guessed from the last feature map and from the one before;
    `classes` [n, classes], logits.
    """

    def __init__(self, tower: nn.Module, classes: int, components: int, side: int = 64) -> None:
        """Put heads on open_clip's `tower`, whose feature maps' widths are seen on a picture of `side` pixels."""
        super().__init__()
        self.tower: Any = tower
        with torch.no_grad():
            last, (middle,) = self._maps(torch.zeros(2, 3, side, side))
        self.places = nn.Conv2d(last.shape[1], components, 1)
        self.middle = nn.Conv2d(middle.shape[1], (components + 1) // 2, 1)
        self.classes = nn.Linear(last.shape[1], classes)

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Normalised pictures float [n, 3, h, w]."""
        last, (middle,) = self._maps(pictures)
        pooled = self.tower.trunk.forward_head(last, pre_logits=True)
        return {
            "embedding": functional.normalize(self.tower.head(pooled).float(), dim=-1),
            "places": self.places(last),
            "middle": self.middle(middle),
            "classes": self.classes(pooled),
        }

    def embed(self, pictures: Tensor) -> Tensor:
        """Unit embeddings alone."""
        return functional.normalize(self.tower(pictures).float(), dim=-1)

    def _maps(self, pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
        last, middle = self.tower.trunk.forward_intermediates(pictures, indices=[-2])
        return last, middle


def normalised(pictures: Tensor) -> Tensor:
    """Pictures in 0..1 as the tower takes them, channels last."""
    mean, std = (torch.tensor(value, device=pictures.device).view(1, 3, 1, 1) for value in (MEAN, STD))
    return ((pictures - mean) / std).contiguous(memory_format=torch.channels_last)
