"""Embeddings agree with open_clip's own, whatever the precision and the kind of model."""

from __future__ import annotations

import io
import pickle
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import open_clip
import pytest
import torch
from PIL import Image
from support import TINY, jpegs, photos, save_checkpoint

from search.errors import ModelError
from search.models.encoder import Encoder, load_encoder
from search.models.names import resolve

TEXTS = ["a dog runs on the beach", "Two children, playing football!", "", "été ☀", "word " * 200]


@pytest.fixture(scope="module")
def starter() -> Encoder:
    return load_encoder("starter", device="cpu", precision="fp32")


def open_clips_own(name: str, images: list[Image.Image], texts: list[str]) -> tuple[npt.NDArray[np.float32], ...]:
    """What the library itself makes of photos and texts: its transform, its towers, fp32."""
    network, _, transform = open_clip.create_model_and_transforms(resolve(name).open_clip_name)
    tokenizer = open_clip.get_tokenizer(resolve(name).open_clip_name)
    network.eval()
    with torch.inference_mode():
        pixels = torch.stack([transform(image) for image in images])
        return (
            network.encode_image(pixels, normalize=True).numpy(),
            network.encode_text(tokenizer(texts), normalize=True).numpy(),
        )


def embed(encoder: Encoder, images: list[Image.Image]) -> npt.NDArray[np.float32]:
    return encoder.embed_images(np.stack([encoder.preprocess(image) for image in images]))


def cosines(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray((a * b).sum(axis=1))


@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_starter_embeds_as_open_clip_does(precision: str) -> None:
    encoder = load_encoder("starter", device="cpu", precision=precision)
    images = photos()
    own_images, own_texts = open_clips_own("starter", images, TEXTS)
    ours = embed(encoder, images)
    assert ours.dtype == np.float32 and ours.shape == (len(images), encoder.dim) == (len(images), 384)
    assert cosines(ours, own_images).min() >= 0.995
    assert cosines(ours, own_images).mean() >= 0.999
    texts = encoder.embed_texts(TEXTS)
    if precision == "fp32":
        np.testing.assert_allclose(texts, own_texts, atol=1e-3)
    assert cosines(texts, own_texts).min() >= 0.999


def test_draft_decoding_keeps_each_photos_embedding(starter: Encoder) -> None:
    full, drafted = [], []
    for data in jpegs():
        full.append(Image.open(io.BytesIO(data)).convert("RGB"))
        image = Image.open(io.BytesIO(data))
        image.draft("RGB", starter.preprocess.draft_size)
        assert image.width < full[-1].width
        drafted.append(starter.preprocess(image.convert("RGB"), full[-1].size))
    own, _ = open_clips_own("starter", full, ["a"])
    assert cosines(starter.embed_images(np.stack(drafted)), own).min() >= 0.995


def test_vectors_have_length_one_and_batches_do_not_matter(starter: Encoder) -> None:
    pixels = np.stack([starter.preprocess(image) for image in photos()[:12]] * 4)
    together = starter.embed_images(pixels)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    alone = np.concatenate([starter.embed_images(pixels[i : i + 1]) for i in range(12)])
    np.testing.assert_allclose(together[36:], alone, atol=1e-4)


def test_nothing_gives_no_rows(starter: Encoder) -> None:
    assert starter.embed_texts([]).shape == (0, 384)
    assert starter.embed_images(np.empty((0, *starter.image_size, 3), np.uint8)).shape == (0, 384)


def test_pixels_of_another_shape_are_refused(starter: Encoder) -> None:
    height, width = starter.image_size
    with pytest.raises(ValueError, match=f"{height}, {width}"):
        starter.embed_images(np.zeros((1, height - 44, width, 3), np.uint8))
    with pytest.raises(ValueError, match="uint8"):
        starter.embed_images(np.zeros((1, height, width, 3), np.float32))


def test_threads_take_turns(starter: Encoder) -> None:
    expected = starter.embed_texts(["a dog"])
    found: list[npt.NDArray[np.float32]] = []
    threads = [threading.Thread(target=lambda: found.append(starter.embed_texts(["a dog"]))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    for vectors in found:
        np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_bf16_is_close_to_fp32_and_has_the_same_fingerprint(starter: Encoder) -> None:
    half = load_encoder("starter", device="cpu", precision="bf16")
    images = photos()[:12]
    assert cosines(embed(half, images), embed(starter, images)).min() >= 0.995
    assert cosines(half.embed_texts(TEXTS), starter.embed_texts(TEXTS)).min() >= 0.999
    assert half.fingerprint == starter.fingerprint
    assert len(starter.fingerprint) == 16 and int(starter.fingerprint, 16) >= 0


def test_identity_of_the_starter(starter: Encoder) -> None:
    assert (starter.name, starter.image_size, starter.device, starter.precision) == (
        "starter",
        (160, 160),
        "cpu",
        "fp32",
    )
    assert starter.logit_scale > 1 and starter.logit_bias is None
    assert pickle.loads(pickle.dumps(starter.preprocess)) == starter.preprocess


def test_fingerprints_tell_weights_apart(tmp_path: Path) -> None:
    first, again, other = (
        load_encoder(save_checkpoint(tmp_path / str(place), seed=seed), device="cpu")
        for place, seed in enumerate((1, 1, 2))
    )
    assert first.fingerprint == again.fingerprint != other.fingerprint


SIGLIP = {
    **TINY,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {
        "image_size": 224,
        "timm_model_name": "vit_tiny_patch16_224",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "linear",
    },
    "text_cfg": {**TINY["text_cfg"], "no_causal_mask": True, "proj_bias": True, "pool_type": "last"},
}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("config", "preprocess", "bias"),
    [
        pytest.param(TINY, {"interpolation": "bicubic", "resize_mode": "shortest"}, None, id="clip"),
        pytest.param(SIGLIP, {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"}, -10.0, id="siglip"),
        pytest.param(TINY, {"interpolation": "bilinear", "resize_mode": "squash"}, None, id="bilinear"),
        pytest.param(TINY, {"resize_mode": "longest", "fill_color": 128}, None, id="longest"),
        pytest.param(
            {**TINY, "vision_cfg": {**TINY["vision_cfg"], "image_size": [64, 96]}},
            {"interpolation": "bilinear", "resize_mode": "shortest"},
            None,
            id="not square",
        ),
    ],
)
def test_every_kind_of_model_embeds_as_open_clip_does(
    tmp_path: Path,
    config: dict[str, object],
    preprocess: dict[str, object],
    bias: float | None,
    precision: str,
) -> None:
    name = save_checkpoint(tmp_path / "model", config, preprocess)
    encoder = load_encoder(name, device="cpu", precision=precision)
    images = photos()[:20]
    own_images, own_texts = open_clips_own(name, images, TEXTS)
    assert encoder.name == name
    assert encoder.logit_bias == bias
    assert encoder.logit_scale == pytest.approx(1 / 0.07, rel=1e-4)
    assert cosines(embed(encoder, images), own_images).min() >= 0.995
    assert cosines(encoder.embed_texts(TEXTS), own_texts).min() >= 0.999


def test_weights_that_are_not_numbers_are_an_error(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    name = save_checkpoint(tmp_path)
    weights = load_file(tmp_path / "open_clip_model.safetensors")
    weights["text_projection"].fill_(float("nan"))
    save_file(weights, tmp_path / "open_clip_model.safetensors")
    with pytest.raises(ModelError, match="finite"):
        load_encoder(name, device="cpu")


def test_a_tokenizer_of_transformers_is_loaded_from_the_checkpoint(tmp_path: Path) -> None:
    """SigLIP 2 and many hub models bring such a tokenizer; here a small one, saved in its own format."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate(("<pad>", "<unk>", "<eos>", "a", "dog", "cat"))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token="<eos>")
    text = {**TINY["text_cfg"], "hf_tokenizer_name": "here", "vocab_size": 6, "pool_type": "last"}
    name = save_checkpoint(tmp_path / "siglip", {**TINY, "text_cfg": text})
    fast.save_pretrained(tmp_path / "siglip")
    encoder = load_encoder(name, device="cpu", precision="fp32")
    dog, cat, again = encoder.embed_texts(["a dog", "a cat", "a dog"])
    assert np.allclose(dog, again) and not np.allclose(dog, cat)
