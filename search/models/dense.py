"""Where each place of a photo lies in the space of texts, told by the image tower itself.

Each place is put through what the tower does with the whole photo, its pooling and projection, on its own:

- *Feature map* (convolutional towers of timm that pool by the mean): the last map, place by place. Where nothing but a
  linear projection follows the mean, the photo's embedding is the mean of its places' projections, so that what each
  place adds is exact (Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016).
- *Patch tokens* of transformers:

  - pooled by attention (SigLIP, Perception Encoder) or by the mean: each final token is pooled alone. Of attention that
    leaves the path of the values, as Zhou et al., "Extract Free Dense Labels from CLIP", ECCV 2022, have it (MaskCLIP).
  - with a class token (CLIP): the final tokens say little about their own places, since only the class token was
    trained. So the last block is run as in Lan et al., "ClearCLIP: Decomposing CLIP Representations for Dense
    Vision-Language Inference", ECCV 2024: attention of queries to queries, without the residual path and without the
    feed-forward network.

Towers of other kinds are asked by covering parts of the photo instead (`search.models.occlusion`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from search.errors import ModelError

if TYPE_CHECKING:
    import torch

FEATURE_MAP, PATCH_TOKENS, OCCLUSION = "feature map", "patch tokens", "occlusion"


@dataclass(frozen=True)
class Places:
    """What the places of a picture say in the space of texts.

    Attributes:
        method: how that was found out: one of the three names above.
        vectors: float32 [rows, columns, d], the first row at the top. The inner product with a text's embedding says
            how much the place speaks for it: its share of the picture's similarity, or, by occlusion, how much of the
            similarity goes when the place is covered.
        area: left, top, width and height of what the places cover, as fractions of the picture.
    """

    method: str
    vectors: npt.NDArray[np.float32]
    area: tuple[float, float, float, float]


def method(visual: Any) -> str:
    """How an open_clip model's image tower tells where something is: one of the three names above."""
    trunk, head = getattr(visual, "trunk", None), getattr(visual, "head", None)
    if trunk is None:
        return PATCH_TOKENS if _is_clip_transformer(visual) else OCCLUSION
    if _is_timm_transformer(trunk):
        return PATCH_TOKENS
    pool = getattr(getattr(trunk, "head", None), "global_pool", None)
    pools_by_mean = getattr(pool, "pool_type", None) == "avg" and getattr(pool, "input_fmt", "NCHW") == "NCHW"
    return FEATURE_MAP if pools_by_mean and not hasattr(head, "pool") else OCCLUSION


def takes_any_size(visual: Any) -> bool:
    """Whether larger pictures may be given for finer maps: a network with attention may be built for one size."""
    return not any("attention" in type(module).__name__.lower() for module in visual.modules())


def places(visual: Any, pixels: torch.Tensor) -> torch.Tensor:
    """The projections of each place, [n, rows, columns, d] float32 on the CPU, such that their mean has length 1.

    Args:
        visual: an image tower whose `method` is not occlusion.
        pixels: normalised pictures [n, 3, height, width].
    """
    if method(visual) == FEATURE_MAP:
        features = visual.trunk.forward_features(pixels)
        count, channels, rows, columns = features.shape
        alone = features.permute(0, 2, 3, 1).reshape(-1, channels, 1, 1)
        projected = visual.head(visual.trunk.forward_head(alone))
    elif hasattr(visual, "trunk"):
        count, (rows, columns) = len(pixels), visual.trunk.patch_embed.grid_size
        projected = _each_token_pooled(visual, pixels)
    else:
        count, (rows, columns) = len(pixels), visual.grid_size
        projected = _patches_of_clip(visual, pixels)
    vectors: torch.Tensor = projected.float().cpu().reshape(count, rows, columns, -1)
    shares: torch.Tensor = vectors / vectors.mean(dim=(1, 2), keepdim=True).norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return shares


def feature_maps(visual: Any, pixels: torch.Tensor, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The last feature maps [n, rows, columns, channels], and the same projected into the space of texts
    [n, rows, columns, d], both float32 on the CPU; the mean of the projections is the embedding.

    Args:
        visual: the image tower of an open_clip model.
        pixels: normalised pictures [n, 3, height, width].
        name: what to call the model in errors.

    Raises:
        ModelError: the tower does not average a feature map and then project it linearly.
    """
    trunk, head = getattr(visual, "trunk", None), getattr(visual, "head", None)
    if trunk is None or head is None or method(visual) != FEATURE_MAP or not _projects_linearly(trunk, head):
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


def _projects_linearly(trunk: Any, head: Any) -> bool:
    """Whether nothing but a mean stands between a convolutional trunk's last map and open_clip's projection."""
    import torch

    steps = [getattr(trunk.head, name, None) for name in ("norm", "pre_logits", "fc")]
    return all(step is None or isinstance(step, torch.nn.Identity) for step in steps) and {
        name for name, _ in head.named_children()
    } <= {"drop", "proj"}


def _is_clip_transformer(visual: Any) -> bool:
    from open_clip.transformer import ResidualAttentionBlock, VisionTransformer

    if not isinstance(visual, VisionTransformer) or visual.attn_pool is not None:
        return False
    blocks = visual.transformer.resblocks
    return visual.pool_type == "avg" or (
        visual.pool_type == "tok" and len(blocks) > 1 and type(blocks[-1]) is ResidualAttentionBlock
    )


def _is_timm_transformer(trunk: Any) -> bool:
    from timm.layers.attention_pool import AttentionPoolLatent
    from timm.models.eva import Eva
    from timm.models.vision_transformer import VisionTransformer

    if not isinstance(trunk, (VisionTransformer, Eva)) or not hasattr(trunk.patch_embed, "grid_size"):
        return False
    pool = trunk.attn_pool
    if trunk.global_pool == "map":
        return isinstance(pool, AttentionPoolLatent) and pool.pos_embed is None
    return trunk.global_pool == "avg" and pool is None


def _each_token_pooled(visual: Any, pixels: torch.Tensor) -> torch.Tensor:
    """A timm transformer's final tokens, each as if it were the photo's only one: [n * tokens, d]."""
    trunk = visual.trunk
    tokens = trunk.forward_features(pixels)[:, trunk.num_prefix_tokens :]
    alone = tokens.reshape(-1, 1, tokens.shape[-1])
    pooled = alone[:, 0] if trunk.attn_pool is None else trunk.attn_pool(alone)
    projected: torch.Tensor = visual.head(trunk.head(trunk.fc_norm(pooled)))
    return projected


def _patches_of_clip(visual: Any, pixels: torch.Tensor) -> torch.Tensor:
    """The patches of open_clip's own transformer in the space of texts: [n, tokens, d]."""
    import torch

    by_class_token = visual.pool_type == "tok"
    blocks = visual.transformer.resblocks
    found = visual.forward_intermediates(
        pixels,
        indices=[len(blocks) - (2 if by_class_token else 1)],
        stop_early=True,
        intermediates_only=True,
        output_fmt="NLC",
        output_extra_tokens=True,
    )
    tokens = found["image_intermediates"][0]
    if by_class_token:
        everything = torch.cat([found["image_intermediates_prefix"][0], tokens], dim=1)
        tokens = _queries_to_queries(blocks[-1], everything)[:, 1:]
    projected: torch.Tensor = visual.ln_post(tokens) @ visual.proj
    return projected


def _queries_to_queries(block: Any, tokens: torch.Tensor) -> torch.Tensor:
    """The attention of an open_clip block with its queries for keys, and nothing else of it: [n, tokens, width]."""
    import torch

    attention = block.attn
    joint = torch.nn.functional.linear(block.ln_1(tokens), attention.in_proj_weight, attention.in_proj_bias)
    # [n, tokens, 3 * width] to three of [n, heads, tokens, width of a head].
    query, _, value = joint.unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    attended = torch.nn.functional.scaled_dot_product_attention(query, query, value)
    out: torch.Tensor = block.ls_1(attention.out_proj(attended.transpose(1, 2).flatten(2)))
    return out
