"""Where in a photo a text is: each place's share of the photo's similarity, for every kind of image tower."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from support import PREPROCESS, TINY, photo_files, photos, save_checkpoint

from search.errors import ModelError
from search.models import dense, occlusion
from search.models.encoder import Encoder, load_encoder


@pytest.fixture(scope="module")
def starter() -> Encoder:
    return load_encoder("starter", device="cpu", precision="fp32")


def photo(name: str) -> Image.Image:
    return Image.open(next(file for file in photo_files() if file.name == name)).convert("RGB")


def timm_tower(**changes: Any) -> dict[str, Any]:
    """The configuration of a small model whose image tower is timm's."""
    vision = {"image_size": 64, "timm_model_pretrained": False, "timm_pool": "avg", "timm_proj": "linear", **changes}
    return {**TINY, "custom_text": True, "vision_cfg": vision}


def clip_tower(**changes: Any) -> dict[str, Any]:
    return {**TINY, "vision_cfg": {**TINY["vision_cfg"], **changes}}


TOWERS = {
    "CLIP": clip_tower(),
    "CLIP with a mean": clip_tower(pool_type="avg"),
    "CLIP, not square": clip_tower(image_size=[64, 96]),
    "residual network of CLIP": clip_tower(layers=[1, 1, 1, 1], width=16, head_width=32),
    # As the presets: SigLIP 2 (balanced) and Perception Encoder (best), both pooled by attention.
    "SigLIP": timm_tower(timm_model_name="test_vit3", timm_pool="map", timm_proj="none", image_size=160),
    "Perception Encoder": timm_tower(
        timm_model_name="vit_pe_core_tiny_patch16_384", timm_pool="map", timm_proj=None, image_size=384
    ),
    "transformer with a mean": timm_tower(timm_model_name="test_vit", image_size=160),
    "transformer of timm with a class token": timm_tower(
        timm_model_name="test_vit", timm_pool="token", timm_proj=None, image_size=160
    ),
    "ConvNeXt": timm_tower(timm_model_name="test_convnext", timm_pool="", image_size=160),
    "windows": timm_tower(timm_model_name="test_maxvit", image_size=160),
}
TOWERS["SigLIP"]["embed_dim"] = 96  # the width of the tower, which projects no further


@pytest.fixture
def encoder_of(tmp_path: Path) -> Callable[..., Encoder]:
    """Loads a model with random weights, one of `TOWERS`, through open_clip's own loader."""

    def made(tower: str, preprocess: dict[str, Any] = PREPROCESS, edit: Callable[..., None] | None = None) -> Encoder:
        name = save_checkpoint(tmp_path / "checkpoint", TOWERS[tower], preprocess)
        if edit is not None:
            file = tmp_path / "checkpoint" / "open_clip_model.safetensors"
            weights = load_file(file)
            edit(weights)
            save_file(weights, file)
        return load_encoder(name, device="cpu", precision="fp32")

    return made


def test_embedding_is_the_mean_of_its_places(starter: Encoder) -> None:
    batch = np.stack([starter.preprocess(photo) for photo in photos()[:6]])
    features, embeddings = starter.feature_maps(batch)
    assert features.ndim == 4 and len(features) == 6
    assert (embeddings * starter.embed_images(batch)).sum(axis=1).min() > 0.9999


@pytest.mark.parametrize(
    ("tower", "method", "grid"),
    [
        ("CLIP", dense.PATCH_TOKENS, (4, 4)),
        ("CLIP with a mean", dense.PATCH_TOKENS, (4, 4)),
        ("CLIP, not square", dense.PATCH_TOKENS, (4, 6)),
        ("residual network of CLIP", dense.OCCLUSION, (7, 7)),
        ("SigLIP", dense.PATCH_TOKENS, (10, 10)),
        ("Perception Encoder", dense.PATCH_TOKENS, (24, 24)),
        ("transformer with a mean", dense.PATCH_TOKENS, (10, 10)),
        ("transformer of timm with a class token", dense.OCCLUSION, (7, 7)),
        ("ConvNeXt", dense.FEATURE_MAP, (8, 8)),
        ("windows", dense.FEATURE_MAP, (5, 5)),
    ],
)
def test_every_kind_of_tower_tells_where(
    encoder_of: Callable[..., Encoder], tower: str, method: str, grid: tuple[int, int]
) -> None:
    encoder = encoder_of(tower)
    places = encoder.places(photo("coffee.png"))
    assert places.method == method
    assert places.vectors.shape == (*grid, encoder.dim) and places.vectors.dtype == np.float32
    assert np.isfinite(places.vectors).all() and places.vectors.std(axis=(0, 1)).max() > 0


def test_the_built_in_tower_gets_a_larger_picture_for_a_finer_map(starter: Encoder) -> None:
    places = starter.places(photo("coffee.png"))
    assert (places.method, places.vectors.shape, places.area) == (dense.FEATURE_MAP, (8, 8, 384), (0, 0, 1, 1))


def test_where_a_mean_is_projected_the_embedding_is_the_mean_of_the_places(encoder_of: Callable[..., Encoder]) -> None:
    encoder = encoder_of("CLIP with a mean")
    picture = photo("chelsea.png")
    mean = encoder.places(picture).vectors.mean(axis=(0, 1))
    np.testing.assert_allclose(mean, encoder.embed_images(encoder.preprocess(picture)[None])[0], atol=1e-4)


def sharpen(weights: dict[str, torch.Tensor]) -> None:
    """Make the last block attend to what is alike, as trained ones do; random ones attend to all places evenly."""
    for name, weight in weights.items():
        if name.startswith("visual.transformer.resblocks.1.attn.in_proj_weight"):
            weight[: weight.shape[1]] *= 12


@pytest.mark.parametrize(
    "tower", ["CLIP", "CLIP with a mean", "SigLIP", "Perception Encoder", "transformer with a mean", "ConvNeXt"]
)
def test_what_changes_on_one_side_changes_the_places_of_that_side(
    encoder_of: Callable[..., Encoder], tower: str
) -> None:
    encoder = encoder_of(tower, edit=sharpen)
    height, width = encoder.image_size
    here, there = (photo(name).resize((width, height)) for name in ("coffee.png", "rocket.jpg"))
    changed = here.copy()
    changed.paste(there.crop((width // 2, 0, width, height)), (width // 2, 0))
    before, after = encoder.places(here).vectors, encoder.places(changed).vectors
    difference = np.linalg.norm(after - before, axis=-1)
    half = difference.shape[1] // 2
    assert difference[:, half:].mean() > 1.5 * difference[:, :half].mean()


def test_rows_run_down_and_columns_to_the_right(encoder_of: Callable[..., Encoder]) -> None:
    encoder = encoder_of("CLIP, not square", edit=sharpen)
    plain = Image.new("RGB", (96, 64), "grey")
    marked = plain.copy()
    marked.paste(photo("chelsea.png").resize((16, 16)), (64, 16))  # the patch of the second row, the fifth column
    difference = np.linalg.norm(encoder.places(marked).vectors - encoder.places(plain).vectors, axis=-1)
    assert np.unravel_index(difference.argmax(), difference.shape) == (1, 4)


def test_attention_alone_of_the_last_block_is_asked(encoder_of: Callable[..., Encoder]) -> None:
    """What its feed-forward network and its keys are does not matter, though the embedding depends on them."""

    def disturb(weights: dict[str, torch.Tensor]) -> None:
        block = "visual.transformer.resblocks.1."
        weights[f"{block}mlp.c_proj.weight"] *= 30
        weights[f"{block}attn.in_proj_weight"][64:128] *= 30

    picture = photo("chelsea.png")
    one, other = encoder_of("CLIP"), encoder_of("CLIP", edit=disturb)
    np.testing.assert_allclose(one.places(picture).vectors, other.places(picture).vectors, atol=1e-5)
    pixels = one.preprocess(picture)[None]
    assert np.abs(one.embed_images(pixels) - other.embed_images(pixels)).max() > 0.01


def test_by_occlusion_only_what_is_not_plain_matters(encoder_of: Callable[..., Encoder]) -> None:
    """On a ground of the colour that things are covered with, covering takes something away at the thing alone."""
    encoder = encoder_of("residual network of CLIP")
    colour = tuple(round(255 * each) for each in encoder.preprocess.mean)
    ground = Image.new("RGB", (64, 64), colour)
    ground.paste(photo("chelsea.png").resize((8, 8)), (47, 10))  # in the second row, the sixth column
    places = encoder.places(ground)
    strength = np.linalg.norm(places.vectors, axis=-1)
    assert places.method == dense.OCCLUSION
    assert strength[1, 5] > 0.0001
    assert strength[:, :4].max() < 1e-6 and strength[3:].max() < 1e-6


def test_covering_reaches_every_pixel_and_leaves_the_most(starter: Encoder) -> None:
    pixels = np.full((64, 96, 3), 200, np.uint8)
    copies = occlusion.covered(pixels, (0.0, 0.5, 1.0))
    assert copies.shape == (49, 64, 96, 3)
    changed = (copies != pixels).any(axis=-1)
    assert changed.any(axis=0).all() and (pixels == 200).all()
    assert changed.mean(axis=(1, 2)).max() < 0.1
    assert copies[0, 0, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("tower", ["CLIP", "SigLIP", "ConvNeXt"])
def test_half_precision_gives_much_the_same_map(tmp_path: Path, tower: str) -> None:
    name = save_checkpoint(tmp_path, TOWERS[tower])
    full, half = (load_encoder(name, device="cpu", precision=each) for each in ("fp32", "bf16"))
    picture = photo("coffee.png")
    one, other = (encoder.places(picture).vectors.reshape(-1, encoder.dim) for encoder in (full, half))
    assert np.linalg.norm(one - other) < 0.1 * np.linalg.norm(one)


def test_motorcycle_is_found_on_the_side_where_it_is(starter: Encoder) -> None:
    scene = Image.new("RGB", (640, 640), (128, 128, 128))
    scene.paste(photo("motorcycle_left.png").resize((320, 320)), (0, 160))
    text = starter.embed_texts(["a motorcycle"])[0]
    here, there = (
        starter.places(picture).vectors @ text for picture in (scene, scene.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    )
    half = here.shape[1] // 2
    assert here[:, :half].mean() > here[:, -half:].mean()
    assert there[:, :half].mean() < there[:, -half:].mean()


@pytest.mark.parametrize(
    ("mode", "size", "area"),
    [
        ("squash", (300, 200), (0, 0, 1, 1)),
        ("shortest", (300, 200), (1 / 6, 0, 2 / 3, 1)),
        ("shortest", (200, 400), (0, 0.25, 1, 0.5)),
        ("longest", (200, 400), (-0.5, 0, 2, 1)),
    ],
)
def test_the_area_is_what_the_model_sees(
    encoder_of: Callable[..., Encoder], mode: str, size: tuple[int, int], area: tuple[float, ...]
) -> None:
    encoder = encoder_of("CLIP", {**PREPROCESS, "resize_mode": mode})
    assert encoder.places(Image.new("RGB", size)).area == pytest.approx(area, abs=0.02)


def test_a_tower_without_a_projected_mean_has_no_feature_map(encoder_of: Callable[..., Encoder]) -> None:
    encoder = encoder_of("CLIP")
    with pytest.raises(ModelError, match="does not tell where in a photo"):
        encoder.feature_maps(np.zeros((1, 64, 64, 3), dtype=np.uint8))
