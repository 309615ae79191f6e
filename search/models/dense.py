"""The last feature map of an image tower, and where each of its places lies in the space of texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from search.errors import ModelError

if TYPE_CHECKING:
    import torch


def feature_maps(visual: Any, pixels: torch.Tensor, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The last feature maps [n, rows, columns, channels], and the same projected into the space of texts
    [n, rows, columns, d], both float32 on the CPU.

    For towers of timm that pool by the mean and then project linearly, the embedding of a photo is the mean of its
    places' projections: what each place adds to it is exact, not an approximation
    (Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016).

    Args:
        visual: the image tower of an open_clip model.
        pixels: normalised pictures [n, 3, height, width].
        name: what to call the model in errors.

    Raises:
        ModelError: the tower is of another kind.
    """
    trunk, head = getattr(visual, "trunk", None), getattr(visual, "head", None)
    if trunk is None or head is None or not _pools_by_mean(trunk, head):
        raise ModelError(
            f"The model {name} does not tell where in a photo something is: its image tower keeps no feature map "
            "that is averaged and then projected."
        )
    features = trunk.forward_features(pixels).permute(0, 2, 3, 1)
    return features.float().cpu(), head(features).float().cpu()


def unit(vectors: torch.Tensor) -> torch.Tensor:
    """`vectors` [..., d] at unit length."""
    import torch

    return torch.nn.functional.normalize(vectors, dim=-1)


def _pools_by_mean(trunk: Any, head: Any) -> bool:
    """Whether nothing but a mean stands between a convolutional trunk's last map and open_clip's projection."""
    import torch

    pooling = getattr(trunk, "head", None)
    pool = getattr(pooling, "global_pool", None)
    steps = [getattr(pooling, name, None) for name in ("norm", "pre_logits", "fc")]
    return (
        getattr(pool, "pool_type", None) == "avg"
        and getattr(pool, "input_fmt", "NCHW") == "NCHW"
        and all(step is None or isinstance(step, torch.nn.Identity) for step in steps)
        and {name for name, _ in head.named_children()} <= {"drop", "proj"}
    )
