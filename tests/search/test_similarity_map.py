"""Where in a photo a text is, as it is shown: held against what texts in general find there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import photo_files

from indexer.demo import gather_samples
from indexer.progress import Silent
from indexer.report import IndexOptions
from indexer.run import run_index
from search.answer import Request
from search.engine import Engine
from search.errors import QueryError, UnknownPhotoError
from search.home import Home
from search.models.dense import FEATURE_MAP, Places
from search.similarity_map import FULL, deviations, shown
from search.vectors.protocol import Floats

pytestmark = pytest.mark.usefixtures("loaded_once")

DIMENSIONS = 64


def unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32)


@pytest.fixture
def bank() -> Floats:
    """Embeddings of texts that have something in common, as those of real models have."""
    common = np.ones(DIMENSIONS, np.float32)
    return unit(np.random.default_rng(0).normal(size=(500, DIMENSIONS)).astype(np.float32) + common)


def places_of(vectors: Floats) -> Places:
    return Places(FEATURE_MAP, vectors, (0, 0, 1, 1))


def test_a_place_that_is_near_to_every_text_does_not_light_up(bank: Floats) -> None:
    text = bank[0]
    vectors = np.random.default_rng(1).normal(size=(4, 5, DIMENSIONS)).astype(np.float32) * 0.05
    vectors[1, 2] += text - bank.mean(axis=0)
    vectors[3, 4] += 2 * bank.mean(axis=0)
    plain = vectors @ text
    assert plain[3, 4] > plain[1, 2]
    found = deviations(places_of(vectors), text, bank)
    assert np.unravel_index(found.argmax(), found.shape) == (1, 2)
    assert found[3, 4] < 0.5 * found[1, 2]


def test_the_unit_is_how_much_texts_in_general_differ(bank: Floats) -> None:
    vectors = np.random.default_rng(1).normal(size=(4, 5, DIMENSIONS)).astype(np.float32)
    every = np.stack([deviations(places_of(vectors), text, bank) for text in bank])
    assert every.std() == pytest.approx(1, abs=0.01) and abs(every.mean()) < 0.01
    # The same whatever the scale, which differs between models and methods.
    np.testing.assert_allclose(deviations(places_of(100 * vectors), bank[0], bank), every[0], rtol=1e-3)


def test_what_stands_out_is_shown_in_full_and_what_does_not_faintly() -> None:
    strong = shown(np.array([[-3, 0, 1, 4, 7]], np.float32))
    np.testing.assert_allclose(strong, [[0, 0, 0, 0.5, 1]])
    weak = shown(np.array([[-3, 0, 1, 2]], np.float32))
    assert weak.max() == pytest.approx(1 / (FULL - 1))
    assert shown(np.array([[-3.0, 0.5]], np.float32)).max() == 0


def test_a_photo_of_one_grey_has_a_map(bank: Floats) -> None:
    assert np.isfinite(deviations(places_of(np.zeros((2, 2, DIMENSIONS), np.float32)), bank[0], bank)).all()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    photos, home = tmp_path_factory.mktemp("photos"), Home(tmp_path_factory.mktemp("home"))
    gather_samples(photos)
    run_index(home, [photos], IndexOptions(model="starter", captions="off"), Silent())
    with Engine.open(home) as engine:
        yield engine


def id_of(engine: Engine, name: str) -> str:
    return next(hit.id for hit in engine.search(Request()).hits if Path(hit.path).name == name)


def picture(name: str) -> Image.Image:
    return Image.open(next(file for file in photo_files() if file.name == name)).convert("RGB")


def test_the_map_is_of_the_words_of_the_query(engine: Engine) -> None:
    photo, image = id_of(engine, "motorcycle_left.png"), picture("motorcycle_left.png")
    found = engine.where(photo, image, 'motorcycle -dog after:2001 "in a garage" type:png')
    assert found.query == "motorcycle in a garage"
    np.testing.assert_allclose(found.deviations, engine.where(photo, image, found.query).deviations, atol=1e-4)
    assert found.to_json()["map"] != engine.where(photo, image, "a dog").to_json()["map"]


def test_the_similarity_is_that_of_the_search(engine: Engine) -> None:
    hit = engine.search(Request("a motorcycle", mode="meaning")).hits[0]
    found = engine.where(hit.id, picture("motorcycle_left.png"), "a motorcycle")
    assert found.similarity == pytest.approx(hit.why[0].similarity, abs=1e-3)
    assert found.to_json()["similarity"] == hit.why[0].to_json()["similarity"]


def test_a_thing_stands_out_where_it_is_and_what_is_not_there_does_not(engine: Engine) -> None:
    photo, image = id_of(engine, "coffee.png"), picture("coffee.png")
    there = engine.where(photo, image, "a cup of coffee")
    rows, columns = there.shown.shape
    row, column = np.unravel_index(there.shown.argmax(), there.shown.shape)
    assert there.shown.max() == 1
    assert 1 <= row < rows - 1 and 1 <= column < columns - 1  # the cup stands in the middle
    assert engine.where(photo, image, "a football player").shown.mean() < 0.1


@pytest.mark.parametrize("text", ["", "   ", "after:2020", "-dog", '-"a dog" type:jpg', '""'])
def test_without_words_there_is_nothing_to_look_for(engine: Engine, text: str) -> None:
    with pytest.raises(QueryError, match="no words that could be looked for"):
        engine.where(id_of(engine, "coffee.png"), picture("coffee.png"), text)


def test_a_photo_that_is_not_in_the_index_is_unknown(engine: Engine) -> None:
    with pytest.raises(UnknownPhotoError):
        engine.where("0" * 32, picture("coffee.png"), "a cup")
