"""Ranks of what was meant are those in the answers that users get."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from support import picture, save_checkpoint

from indexer.report import IndexOptions
from indexer.run import run_index
from search.answer import Request
from search.catalog import words
from search.catalog.connection import connect_to_read, connect_to_write
from search.catalog.descriptions import put_caption
from search.engine import Engine
from search.evaluate_answers import MODES, ranks_of_photos, ranks_of_texts
from search.home import Home
from search.models.encoder import load_encoder
from search.ranking_settings import RankingSettings
from search.vectors.snapshot import take

pytestmark = pytest.mark.usefixtures("loaded_once")

RANKING = RankingSettings()
CAPTIONS = [
    "A dog runs on the beach",
    "A cat sleeps on a sofa",
    "Two dogs and a cat",
    "A red car in the rain",
    "A man rides a horse",
    "A child with a kite on the beach",
]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A home with a photo for each of the captions, the last left without; the connection to it, keys and encoder."""
    root = tmp_path_factory.mktemp("answers")
    (root / "photos").mkdir()
    for place in range(len(CAPTIONS)):
        picture(root / "photos" / f"{place}.jpg", place)
    home, model = Home(root / "home"), save_checkpoint(root / "model")
    run_index(home, [root / "photos"], IndexOptions(model=model, captions="off"))
    with closing(connect_to_write(home)) as connection, connection:
        keys = [row[0] for row in connection.execute("SELECT photo_key FROM files ORDER BY name")]
        for key, caption in list(zip(keys, CAPTIONS, strict=True))[:-1]:
            put_caption(connection, key, "someone", caption)
        words.refresh(connection, keys)
        connection.execute("UPDATE settings SET value = value + 1 WHERE name = 'revision'")
    with closing(connect_to_read(home)) as connection:
        yield home, connection, keys, load_encoder(model)


def ranks(library: Any, mode: str, texts: list[str], photos: list[int]) -> list[int]:
    home, connection, keys, encoder = library
    snapshot = take(home, connection, None)
    assert snapshot is not None
    meant = [keys[photo] for photo in photos]
    return ranks_of_photos(connection, snapshot, mode, texts, encoder.embed_texts(texts), meant, RANKING).tolist()


@pytest.mark.parametrize("mode", ["words", "hybrid"])
@pytest.mark.parametrize("text", ["a dog on the beach", "cat", "two cats", "a horse", "red rain"])
def test_ranks_are_places_in_the_engines_answer(library: Any, mode: str, text: str) -> None:
    home, connection, keys, _ = library
    with Engine.open(home) as engine:
        hits = engine.search(Request(text, mode=MODES[mode], limit=100, include_all=True)).hits
    ids = dict(connection.execute("SELECT id, key FROM photos"))
    places = {ids[hit.id]: place for place, hit in enumerate(hits, start=1)}
    found = ranks(library, mode, [text] * len(keys), list(range(len(keys))))
    assert places and found == [places.get(key, len(keys)) for key in keys]


def test_a_photo_that_no_list_finds_comes_last(library: Any) -> None:
    assert ranks(library, "words", ["a kite", "nothing of the kind", ""], [5, 0, 1]) == [6, 6, 6]
    assert len(set(ranks(library, "hybrid", ["nothing of the kind"] * 6, list(range(6))))) == 6


@pytest.mark.parametrize("text", ['"dog" cat', "-cat", "cat: tag:dog", "after:2050 cat", "cat\x00s", "cat " * 1000])
def test_captions_are_asked_as_words_and_never_parsed(library: Any, text: str) -> None:
    assert ranks(library, "words", [text, text], [2, 1])[0] < 6


def test_the_other_way_photos_find_texts_by_what_is_said_of_them(library: Any) -> None:
    home, connection, keys, encoder = library
    snapshot = take(home, connection, None)
    assert snapshot is not None
    texts = [f"{caption} again" for caption in CAPTIONS for _ in range(2)]
    owners, vectors = np.repeat(np.arange(len(keys)), 2), encoder.embed_texts(texts)
    described, photos = [*CAPTIONS[:-1], ""], vectors[[6, 6, 6, 6, 6, 10]]

    def found(mode: str) -> list[int]:
        return ranks_of_texts(snapshot, mode, texts, vectors, owners, described, photos, RANKING).tolist()

    # A photo's two texts do not stand in each other's way; without words all ten of the others come first.
    assert found("words") == [1, 1, 1, 1, 1, 11]
    assert found("hybrid")[5] == 1  # by its embedding alone
