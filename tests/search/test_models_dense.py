"""Where in a photo a text is: each place's share of the photo's similarity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from support import photo_files, photos

from search.errors import ModelError
from search.models.encoder import Encoder, load_encoder


@pytest.fixture(scope="module")
def starter() -> Encoder:
    return load_encoder("starter", device="cpu", precision="fp32")


def test_embedding_is_the_mean_of_its_places(starter: Encoder) -> None:
    batch = np.stack([starter.preprocess(photo) for photo in photos()[:6]])
    features, embeddings = starter.feature_maps(batch)
    assert features.ndim == 4 and len(features) == 6
    assert (embeddings * starter.embed_images(batch)).sum(axis=1).min() > 0.9999


def test_maps_have_a_row_for_each_photo_and_text(starter: Encoder) -> None:
    batch = np.stack([starter.preprocess(photo) for photo in photos()[:2]])
    maps = starter.similarity_maps(batch, ["a cat", "a rocket", "the sea"])
    assert maps.shape[:2] == (2, 3) and maps.dtype == np.float32
    assert np.abs(maps).max() <= 1.001


def test_motorcycle_is_found_on_the_side_where_it_is(starter: Encoder) -> None:
    motorcycle = Image.open(next(file for file in photo_files() if file.name == "motorcycle_left.png"))
    scene = Image.new("RGB", (640, 640), (128, 128, 128))
    scene.paste(motorcycle.resize((320, 320)), (0, 160))
    mirrored = scene.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    here, there = starter.similarity_maps(
        np.stack([starter.preprocess(picture) for picture in (scene, mirrored)]), ["a motorcycle"]
    )[:, 0]
    half = here.shape[1] // 2
    assert here[:, :half].mean() > here[:, -half:].mean()
    assert there[:, :half].mean() < there[:, -half:].mean()


def test_larger_pictures_give_finer_maps_that_agree(starter: Encoder) -> None:
    photo = next(Image.open(file) for file in photo_files() if file.name == "flower.jpg")
    side = starter.image_size[0]
    larger = replace(starter.preprocess, size=(2 * side, 2 * side))
    coarse = starter.similarity_maps(starter.preprocess(photo)[None], ["a flower"])[0, 0]
    fine = starter.similarity_maps(larger(photo)[None], ["a flower"])[0, 0]
    assert fine.shape[0] >= 2 * coarse.shape[0] - 1
    pooled = np.asarray(Image.fromarray(fine).resize(coarse.shape[::-1], Image.Resampling.BOX))
    assert np.corrcoef(pooled.ravel(), coarse.ravel())[0, 1] > 0.5


def test_tower_without_such_a_map_says_so(tiny_checkpoint: Callable[..., str]) -> None:
    encoder = load_encoder(tiny_checkpoint(), device="cpu", precision="fp32")
    batch = np.zeros((1, 64, 64, 3), dtype=np.uint8)
    with pytest.raises(ModelError, match="does not tell where in a photo"):
        encoder.similarity_maps(batch, ["a cat"])
