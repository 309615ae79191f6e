"""Approximate indexes: built, searched through filters, added to and tuned, over embeddings such as models make."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from support import active_model

from benchmarks.embeddings import Embeddings
from search.catalog import changes, model_records, settings
from search.catalog.connection import connect_to_write
from search.catalog.model_records import ModelRecord
from search.home import Home
from search.vectors import building, generations, stored
from search.vectors.building import Wanted
from search.vectors.flat import FlatIndex
from search.vectors.generations import Generation, is_exact, newest, open_generation, publish, tuning
from search.vectors.inverted import FILE, InvertedIndex
from search.vectors.protocol import Floats, Keys
from search.vectors.recall import Probes, fetched
from search.vectors.snapshot import take

PHOTOS, DIMENSIONS = 20_000, 64
LIBRARY = Embeddings(PHOTOS + 6_000, DIMENSIONS)


@pytest.fixture(scope="module")
def vectors() -> Floats:
    """As the catalog keeps them."""
    return np.concatenate(list(LIBRARY.chunks())).astype(np.float16).astype(np.float32)


@pytest.fixture(scope="module")
def texts() -> Floats:
    """None of those that indexes are tuned with."""
    return LIBRARY.texts(300, seed=2)


def add(connection: sqlite3.Connection, model: ModelRecord, vectors: Floats, first: int) -> None:
    with connection:
        connection.executemany(
            "INSERT INTO photos (key, id, width, height, format, bytes, sort_at, added_at)"
            " VALUES (?, ?, 4, 3, 'JPEG', 9, '2020', '2020')",
            [(key, f"{key:032x}") for key in range(first, first + len(vectors))],
        )
        for key, vector in enumerate(vectors, first):
            changes.put_embedding(connection, model.key, key, stored.pack(vector))
        settings.grow_revision(connection)


def asked(recall: float = 0.98) -> Wanted:
    return Wanted(recall, lambda: LIBRARY.texts(400, seed=1))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, vectors: Floats) -> Home:
    """A home of 20,000 embeddings, published."""
    home = Home(tmp_path_factory.mktemp("made"))
    with closing(connect_to_write(home)) as connection, pytest.MonkeyPatch.context() as patch:
        patch.setattr(generations, "EXACT_UP_TO", 5_000)
        with connection:
            model = active_model(connection, DIMENSIONS)
        add(connection, model, vectors[:PHOTOS], 1)
        publish(home, connection, model, asked())
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return home


@pytest.fixture
def copied(made: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Home, sqlite3.Connection]]:
    """A copy of it that may be changed."""
    home = Home(tmp_path / "copied")
    shutil.copytree(made.path, home.path)
    monkeypatch.setattr(generations, "EXACT_UP_TO", 5_000)
    with closing(connect_to_write(home)) as connection:
        yield home, connection


def opened(home: Home, connection: sqlite3.Connection) -> tuple[ModelRecord, Generation, InvertedIndex]:
    model = model_records.active(connection)
    assert model is not None
    generation = newest(connection, model.key)
    assert generation is not None
    index, through, number = open_generation(home, connection, model)
    assert isinstance(index, InvertedIndex) and number == generation.key and through == generation.through
    return model, generation, index


def nearest(queries: Floats, keys: Keys, vectors: Floats, k: int = 10) -> Keys:
    return np.asarray(keys[np.argsort(-(queries @ vectors.T), axis=1)[:, :k]], np.int64)


def recall(found: Keys, expected: Keys) -> float:
    return float(np.mean([len(set(one) & set(other)) / len(other) for one, other in zip(found, expected, strict=True)]))


def test_texts_and_photos_find_what_an_exact_search_finds(made: Home, vectors: Floats, texts: Floats) -> None:
    with closing(connect_to_write(made)) as connection:
        _, _, index = opened(made, connection)
    keys = np.arange(1, PHOTOS + 1)
    assert len(index) == PHOTOS and index.keys.tolist() == keys.tolist() and not index.is_exact
    for queries in (texts, vectors[PHOTOS : PHOTOS + 300]):
        scores, found = index.search(queries, fetched(10))
        assert (np.diff(scores, axis=1) <= 0).all()
        assert recall(found, nearest(queries, keys, vectors[:PHOTOS])) >= 0.97
    assert index.tuning.visited < PHOTOS / 2  # else it would be no faster
    assert index.tuning.target == 0.98 and min(index.tuning.recall.values()) >= 0.98
    assert set(index.tuning.recall) == {"photos", "texts"}


@pytest.mark.parametrize("share", [0.999, 0.5, 0.01, 0.001])
@pytest.mark.parametrize("kind", ["anywhere", "of some events"])
def test_filters_of_any_selectivity_keep_the_recall(
    made: Home, vectors: Floats, texts: Floats, share: float, kind: str
) -> None:
    if kind == "anywhere":
        keys = np.sort(np.random.default_rng(3).choice(PHOTOS, int(share * PHOTOS), replace=False)) + 1
    else:
        keys = LIBRARY.events(share) + 1
        keys = keys[keys <= PHOTOS]
    with closing(connect_to_write(made)) as connection:
        _, _, index = opened(made, connection)
    _, found = index.search(texts, fetched(10), allowed=np.concatenate([keys, [PHOTOS + 5_000, 10**6]]))
    assert np.isin(found[found >= 0], keys).all()
    assert recall(found, nearest(texts, keys, vectors[keys - 1])) >= 0.97


def test_a_filter_that_leaves_out_what_is_near_keeps_the_recall(made: Home, vectors: Floats, texts: Floats) -> None:
    """As `-word` and folders do: what is left lies farther from the query than where it would look else."""
    with closing(connect_to_write(made)) as connection:
        _, _, index = opened(made, connection)
    themes = LIBRARY.themes[:PHOTOS]
    sizes = np.bincount(themes)
    found, expected = [], []
    for text in texts[:60]:
        near = np.bincount(themes, vectors[:PHOTOS] @ text) / np.maximum(sizes, 1)
        keys = 1 + np.flatnonzero(near[themes] < np.quantile(near[sizes > 0], 0.75))
        found.append(index.search(text[None], fetched(10), allowed=keys)[1][0])
        expected.append(nearest(text[None], keys, vectors[keys - 1])[0])
        assert np.isin(found[-1], keys).all()
    assert recall(np.asarray(found), np.asarray(expected)) >= 0.97


def test_no_more_answer_than_may(made: Home, texts: Floats) -> None:
    with closing(connect_to_write(made)) as connection:
        _, _, index = opened(made, connection)
    for keys in (np.asarray([7, 9, 11]), np.asarray([10**9]), np.empty(0, np.int64)):
        scores, found = index.search(texts[:2], 50, allowed=keys)
        assert all(set(row) == set(keys[keys <= PHOTOS].tolist()) for row in found.tolist())
        assert scores.shape == found.shape
    _, found = index.search(texts[:1], 2 * PHOTOS)
    assert sorted(found[0].tolist()) == list(range(1, PHOTOS + 1))


def test_vectors_are_given_back_nearly_as_they_were(made: Home, vectors: Floats) -> None:
    with closing(connect_to_write(made)) as connection:
        _, _, index = opened(made, connection)
    keys = np.asarray([5, PHOTOS + 1, 1, 10**9, PHOTOS])
    places, found = index.vectors(keys)
    assert places.tolist() == [0, 2, 4]
    np.testing.assert_allclose(found, vectors[keys[places] - 1], atol=0.02)
    assert index.vectors(np.asarray([10**9]))[1].shape == (0, DIMENSIONS)


def test_the_scores_of_a_search_are_those_of_the_catalog(
    copied: tuple[Home, sqlite3.Connection], vectors: Floats, texts: Floats
) -> None:
    home, connection = copied
    snapshot = take(home, connection, None)
    assert snapshot is not None and isinstance(snapshot.base, InvertedIndex)
    for text in texts[:20]:
        scores, keys = snapshot.search(connection, text, 20)
        np.testing.assert_allclose(scores, vectors[keys - 1] @ text, atol=1e-6)


def test_a_photo_that_was_embedded_anew_is_one_hit_with_its_new_score(
    copied: tuple[Home, sqlite3.Connection], vectors: Floats
) -> None:
    home, connection = copied
    model, _, _ = opened(home, connection)
    with connection:
        connection.execute("DELETE FROM embeddings WHERE photo_key = 600")
        changes.put_embedding(connection, model.key, 600, stored.pack(vectors[0]))
        settings.grow_revision(connection)
    snapshot = take(home, connection, None)
    assert snapshot is not None
    _, keys = snapshot.search(connection, vectors[0], 5)
    assert set(keys[:2].tolist()) == {1, 600} and len(set(keys.tolist())) == 5
    scores, keys = snapshot.search(connection, vectors[599], PHOTOS)
    assert keys.tolist().count(600) == 1
    assert scores[keys == 600] == pytest.approx(vectors[0] @ vectors[599], abs=1e-5)


def test_what_is_new_is_added_and_what_is_gone_leaves(
    copied: tuple[Home, sqlite3.Connection], vectors: Floats, texts: Floats
) -> None:
    home, connection = copied
    model, before, _ = opened(home, connection)
    add(connection, model, vectors[PHOTOS : PHOTOS + 3_000], PHOTOS + 1)
    with connection:
        connection.execute("DELETE FROM embeddings WHERE photo_key <= 500")
        # A photo that was embedded anew, as `verify --repair` has it done.
        connection.execute("DELETE FROM embeddings WHERE photo_key = 600")
        changes.put_embedding(connection, model.key, 600, stored.pack(vectors[0]))
    publish(home, connection, model)
    _, after, index = opened(home, connection)
    assert after.key > before.key
    keys = np.arange(501, PHOTOS + 3_001)
    held = vectors[keys - 1].copy()
    held[keys == 600] = vectors[0]
    assert index.keys.tolist() == keys.tolist() and len(index) == after.photos
    assert recall(index.search(texts, fetched(10))[1], nearest(texts, keys, held)) >= 0.97
    assert index.search(vectors[:1], 1)[1].tolist() == [[600]]
    assert index.tuning.photos_once == PHOTOS  # the lists are those that were made then
    probes = Probes.read(home.vectors_dir / after.folder / "probes.npz")
    assert np.isin(probes.own[probes.own >= 0], keys).all() and (probes.own > PHOTOS).sum() >= 50
    for query, own, found in zip(probes.queries, probes.own, probes.nearest[:, :5], strict=True):
        assert found.tolist() == nearest(query[None], keys[keys != own], held[keys != own], 5)[0].tolist()


def test_lists_are_made_anew_where_they_do_not_fit_any_more(
    copied: tuple[Home, sqlite3.Connection], vectors: Floats
) -> None:
    home, connection = copied
    model, _, _ = opened(home, connection)
    turned, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((DIMENSIONS, DIMENSIONS)))
    strange = (vectors[:6_000] @ turned).astype(np.float32)  # photos of another kind than all before
    add(connection, model, strange, PHOTOS + 1)
    publish(home, connection, model, asked())
    _, _, after = opened(home, connection)
    assert after.tuning.photos_once == PHOTOS + 6_000
    found = after.search(strange[:200], fetched(10))[1]
    everything = np.concatenate([vectors[:PHOTOS], strange])
    assert recall(found, nearest(strange[:200], np.arange(1, PHOTOS + 6_001), everything)) >= 0.97
    with connection:
        connection.execute("DELETE FROM embeddings WHERE photo_key > 7000")
    publish(home, connection, model, asked())
    assert opened(home, connection)[2].tuning.photos_once == 7_000


def test_lists_that_did_not_fit_before_more_was_asked_are_made_anew(
    copied: tuple[Home, sqlite3.Connection], vectors: Floats
) -> None:
    home, connection = copied
    model, _, _ = opened(home, connection)
    turned, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((DIMENSIONS, DIMENSIONS)))
    add(connection, model, (vectors[:6_000] @ turned).astype(np.float32), PHOTOS + 1)
    for share in (0.8, 0.98):
        publish(home, connection, model, asked(share))
    _, _, index = opened(home, connection)
    assert index.tuning.photos_once == PHOTOS + 6_000 and min(index.tuning.recall.values()) >= 0.98


def test_many_growths_keep_the_recall_and_probes_of_all_times(
    copied: tuple[Home, sqlite3.Connection], vectors: Floats, texts: Floats
) -> None:
    home, connection = copied
    model, _, _ = opened(home, connection)
    for start in range(PHOTOS, PHOTOS + 6_000, 1_500):
        add(connection, model, vectors[start : start + 1_500], start + 1)
        with connection:
            connection.execute("DELETE FROM embeddings WHERE photo_key % 40 = ?", (start // 1_500 % 40,))
        publish(home, connection, model, asked())
    _, generation, index = opened(home, connection)
    assert index.tuning.photos_once == PHOTOS
    keys, held, _ = stored.load(connection, model.key, DIMENSIONS)
    assert recall(index.search(texts, fetched(10))[1], nearest(texts, keys, held)) >= 0.97
    probes = Probes.read(home.vectors_dir / generation.folder / "probes.npz")
    photos = probes.own[probes.own >= 0]
    assert 0.1 < (photos > PHOTOS).mean() < 0.4 and 0.15 < (photos < PHOTOS / 4).mean() < 0.35
    for query, own, found in zip(probes.queries, probes.own, probes.nearest[:, :10], strict=True):
        assert found.tolist() == nearest(query[None], keys[keys != own], held[keys != own])[0].tolist()


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_photos_that_are_all_but_the_same_do_not_make_it_look_at_everything(
    copied: tuple[Home, sqlite3.Connection], vectors: Floats, noise: float
) -> None:
    """Any ten of a hundred frames of a film are the nearest; that others of them were found is no miss."""
    home, connection = copied
    model, _, before = opened(home, connection)
    frames = np.repeat(vectors[PHOTOS : PHOTOS + 15], 100, axis=0)
    frames = frames + noise * np.random.default_rng(0).standard_normal(frames.shape).astype(np.float32) / 8
    frames[:200] = 0  # and what is left of embeddings that are damaged
    frames /= np.maximum(np.linalg.norm(frames, axis=1, keepdims=True), 1e-12)
    add(connection, model, frames.astype(np.float32), PHOTOS + 1)
    publish(home, connection, model, asked())
    _, _, index = opened(home, connection)
    assert index.tuning.visited <= 2 * before.tuning.visited
    assert (index.search(frames[500:501], fetched(10))[0][0, :10] > 0.99).all()


def test_another_recall_is_tuned_for_and_one_is_exact(
    copied: tuple[Home, sqlite3.Connection], texts: Floats, vectors: Floats
) -> None:
    home, connection = copied
    model, _, before = opened(home, connection)
    publish(home, connection, model, asked(0.8))
    _, generation, less = opened(home, connection)
    assert less.tuning.visited < before.tuning.visited and less.tuning.photos_once == PHOTOS
    assert tuning(home, generation) == less.tuning
    publish(home, connection, model, asked(0.995))
    assert opened(home, connection)[2].tuning.visited > before.tuning.visited
    exact = publish(home, connection, model, asked(1.0))
    assert exact is not None and is_exact(exact) and tuning(home, exact) is None
    index, _, _ = open_generation(home, connection, model)
    assert isinstance(index, FlatIndex)
    np.testing.assert_array_equal(
        index.search(texts, 10)[1], nearest(texts, np.arange(1, PHOTOS + 1), vectors[:PHOTOS])
    )


@pytest.mark.parametrize("file", [FILE, "keys.npy", "tuning.json", "probes.npz"])
@pytest.mark.parametrize("damage", ["gone", "cut", "other"])
def test_what_is_damaged_is_not_searched_and_made_anew(
    copied: tuple[Home, sqlite3.Connection], texts: Floats, vectors: Floats, file: str, damage: str
) -> None:
    home, connection = copied
    model, generation, _ = opened(home, connection)
    path = home.vectors_dir / generation.folder / file
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    index, through, number = open_generation(home, connection, model)
    assert through == generation.through
    if (file, damage) != (FILE, "other"):  # too large to be read at each start; `verify` reads it
        assert number is None and index.is_exact
        expected = nearest(texts, np.arange(1, PHOTOS + 1), vectors[:PHOTOS])
        np.testing.assert_array_equal(index.search(texts, 10)[1], expected)
    assert not generations.is_whole(home, generation)
    assert publish(home, connection, model, asked()) is not None
    assert opened(home, connection)[2].tuning.photos_once == PHOTOS


def test_without_texts_it_looks_farther(copied: tuple[Home, sqlite3.Connection], tmp_path: Path, texts: Floats) -> None:
    home, connection = copied
    model, _, _ = opened(home, connection)
    folder = tmp_path / "alone"
    folder.mkdir()
    building.build(connection, model.key, DIMENSIONS, Wanted(), folder)
    index = InvertedIndex.read(folder)
    assert set(index.tuning.recall) == {"photos"}
    _, everything, _ = stored.load(connection, model.key, DIMENSIONS)
    assert recall(index.search(texts, fetched(10))[1], nearest(texts, np.arange(1, PHOTOS + 1), everything)) >= 0.97


def test_a_generation_of_an_earlier_version_is_whole(copied: tuple[Home, sqlite3.Connection]) -> None:
    """It was kept with digests alone, and its vectors as `IndexFlatIP` has them."""
    import faiss

    home, connection = copied
    model = model_records.active(connection)
    assert model is not None
    generation = publish(home, connection, model, asked(1.0))
    assert generation is not None
    folder = home.vectors_dir / generation.folder
    index = faiss.IndexFlatIP(DIMENSIONS)
    keys, vectors, _ = stored.load(connection, model.key, DIMENSIONS)
    index.add(vectors)
    faiss.write_index(index, str(folder / "index.faiss"))
    digests = {file.name: generations._checksum(file).partition("-")[2] for file in sorted(folder.iterdir())}
    with connection:
        connection.execute("UPDATE generations SET checksums = ? WHERE key = ?", (json.dumps(digests), generation.key))
    found, _, number = open_generation(home, connection, model)
    assert number == generation.key and isinstance(found, FlatIndex)
    assert found.search(vectors[5:6], 1)[1].tolist() == [[keys[5]]]
