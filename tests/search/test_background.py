"""What texts in general make of a library, and the judgement that rests on it."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from support import active_model

from search import background
from search.catalog import changes
from search.catalog.connection import connect_to_write
from search.catalog.model_records import ModelRecord
from search.embedded_texts import embedded
from search.home import Home
from search.ranking import RankedList, fuse, is_present, least_score
from search.ranking_settings import RankingSettings
from search.vectors import stored
from search.vectors.protocol import Floats
from search.vectors.snapshot import take

DIMENSIONS = 12
RANKING = RankingSettings()
Catalog = tuple[sqlite3.Connection, ModelRecord]


def unit(count: int, seed: int) -> Floats:
    vectors = np.random.default_rng(seed).normal(size=(count, DIMENSIONS)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


@pytest.fixture
def catalog(home: Home) -> Iterator[Catalog]:
    connection = connect_to_write(home)
    with connection:
        changes.add_library(connection, b"/photos")
        model = active_model(connection, DIMENSIONS)
    yield connection, model
    connection.close()


def add(catalog: Catalog, vectors: Floats, first: int = 0) -> None:
    connection, model = catalog
    for number, vector in enumerate(vectors, start=first):
        photo = changes.NewPhoto(f"{number:032}", 1, 1, "JPEG", 1, None, "2020", None, None, None, None)
        key = changes.put_photo(connection, photo)
        changes.put_embedding(connection, model.key, key, stored.pack(vector))
        changes.put_file(connection, library_key=1, folder=b"/", name=b"%d" % number, size=1, mtime_ns=1, photo_key=key)


def measure(catalog: Catalog, bank: Floats) -> None:
    connection, model = catalog
    background.keep(connection, model.key, "a", background.measure(connection, model.key, "a", bank, RANKING))


def by_hand(vectors: Floats, bank: Floats) -> tuple[Floats, float, float]:
    scores = vectors @ bank.T
    levels = np.sort(scores, axis=1)[:, -RANKING.hub_sentences :].mean(axis=1)
    corrected = scores - RANKING.hub_weight * levels[:, None]
    return levels, float(np.median(corrected.max(axis=0))), float(corrected.std())


def test_levels_and_background_are_those_of_the_definition(catalog: Catalog) -> None:
    connection, model = catalog
    vectors, bank = unit(50, 0), unit(200, 1)
    add(catalog, vectors)
    assert background.unmeasured(connection, model.key, "a") == 50
    measure(catalog, bank)
    levels, expected, spread = by_hand(vectors, bank)
    found = background.read(connection, model.key)
    assert found is not None
    assert (found.expected, found.spread) == (pytest.approx(expected, abs=2e-3), pytest.approx(spread, abs=2e-3))
    keys = np.arange(1, 51, dtype=np.int64)
    np.testing.assert_allclose(background.Levels.read(connection, model.key).of(keys), levels, atol=2e-3)
    assert background.unmeasured(connection, model.key, "a") == 0


def test_few_new_photos_are_added_and_many_or_another_bank_measured_anew(catalog: Catalog) -> None:
    connection, model = catalog
    bank = unit(200, 1)
    add(catalog, unit(50, 0))
    measure(catalog, bank)
    (seen,) = connection.execute("SELECT photos FROM backgrounds").fetchone()
    add(catalog, unit(10, 2), first=50)
    assert background.unmeasured(connection, model.key, "a") == 10
    measure(catalog, bank)
    found = background.read(connection, model.key)
    assert found is not None and seen == 50
    everything = np.concatenate([unit(50, 0), unit(10, 2)])
    assert found.expected == pytest.approx(by_hand(everything, bank)[1], abs=2e-3)
    add(catalog, unit(50, 3), first=60)
    assert background.unmeasured(connection, model.key, "a") == 110
    measure(catalog, bank)
    assert connection.execute("SELECT photos FROM backgrounds").fetchone() == (110,)
    assert background.unmeasured(connection, model.key, "b") == 110


def test_library_that_shrinks_is_measured_anew_without_what_is_gone(catalog: Catalog) -> None:
    connection, model = catalog
    vectors, bank = unit(60, 0), unit(200, 1)
    add(catalog, vectors)
    measure(catalog, bank)
    connection.execute("UPDATE photos SET orphaned_at = '2026' WHERE key > 40")
    assert background.unmeasured(connection, model.key, "a") == 0
    connection.execute("UPDATE photos SET orphaned_at = '2026' WHERE key > 20")
    assert background.unmeasured(connection, model.key, "a") == 60
    measure(catalog, bank)
    _, expected, spread = by_hand(vectors[:20], bank)
    found = background.read(connection, model.key)
    assert found is not None
    assert (found.expected, found.spread) == (pytest.approx(expected, abs=2e-3), pytest.approx(spread, abs=2e-3))
    assert background.unmeasured(connection, model.key, "a") == 0


def test_another_way_of_measuring_is_another_bank() -> None:
    before = background.identity(["a", "b"], RANKING)
    assert before != background.identity(["a", "c"], RANKING)
    assert before != background.identity(["a", "b"], RankingSettings(hub_weight=0.2))
    assert before != background.identity(["a", "b"], RankingSettings(hub_sentences=8))


def test_unmeasured_photos_count_as_the_mean(catalog: Catalog) -> None:
    connection, model = catalog
    keys = np.asarray([1, 2, 3], dtype=np.int64)
    assert background.Levels.read(connection, model.key).of(keys).tolist() == [0, 0, 0]
    add(catalog, unit(3, 0))
    connection.execute("INSERT INTO levels VALUES (?, 1, 0.2), (?, 3, 0.4)", (model.key, model.key))
    assert background.Levels.read(connection, model.key).of(keys).tolist() == pytest.approx([0.2, 0.3, 0.4])


@pytest.mark.parametrize("k", [1, 5, 40, 200])
def test_corrected_search_is_exact(catalog: Catalog, home: Home, k: int) -> None:
    connection, model = catalog
    vectors = stored.unpack([stored.pack(vector) for vector in unit(150, 0)], DIMENSIONS)
    add(catalog, vectors)
    levels = np.random.default_rng(4).uniform(0, 3, 150)  # far more than photos differ by, so that order turns over
    connection.executemany(
        "INSERT INTO levels VALUES (?, ?, ?)", [(model.key, key + 1, level) for key, level in enumerate(levels)]
    )
    connection.commit()
    snapshot = take(home, connection, None)
    assert snapshot is not None
    query = unit(1, 5)[0]
    for allowed in (None, np.arange(1, 150, 3, dtype=np.int64)):
        scores, keys, cosines = snapshot.search_text(connection, query, k, hub_weight=0.1, allowed=allowed)
        among = np.arange(150) if allowed is None else allowed - 1
        exact = (vectors @ query)[among] - 0.1 * levels[among]
        order = np.argsort(-exact)[:k]
        assert keys.tolist() == (among[order] + 1).tolist()
        np.testing.assert_allclose(scores, exact[order], atol=2e-3)
        np.testing.assert_allclose(cosines, (vectors @ query)[among][order], atol=2e-3)


def test_answer_ends_half_way_to_what_has_nothing_to_do_with_the_text() -> None:
    library = background.Background(expected=0.2, spread=0.1)
    assert is_present(0.14, library, RANKING) and not is_present(0.13, library, RANKING)
    assert least_score(0.14, library, RANKING) < 0.14
    assert least_score(0.4, library, RANKING) - least_score(0.2, library, RANKING) == pytest.approx(0.1)
    larger = background.Background(expected=2.0, spread=1.0)  # another model's scale changes nothing
    assert least_score(4.0, larger, RANKING) == pytest.approx(10 * least_score(0.4, library, RANKING))


def ranked(kind: str, *keys: int) -> RankedList:
    return RankedList(kind, np.asarray(keys, np.int64), len(keys))


def test_fusion_adds_what_each_list_gives() -> None:
    lists = [ranked("meaning", 7, 8, 9), ranked("some words", 9), ranked("literal", 8)]
    keys, scores = fuse(lists, RANKING)
    assert keys.tolist() == [8, 7, 9]
    assert scores.tolist() == pytest.approx([1 / 12 + 1 / 11, 1 / 11, 1 / 13 + 0.07 / 11])
    keys, scores = fuse(lists, RankingSettings(meaning_weight=0, some_words_weight=3, fusion_constant=0))
    assert keys.tolist() == [9, 8, 7] and scores.tolist() == [3, 1, 0]
    assert [len(part) for part in fuse([], RANKING)] == [0, 0]


def cut_off(stream: IO[bytes], vectors: Floats) -> None:
    stream.write(b"half")
    raise OSError(errno.ENOSPC, "No space left on device")


class Texts:
    """Stands where a model would, and counts what it is asked."""

    asked = 0

    def embed_texts(self, texts: list[str]) -> Floats:
        self.asked += len(texts)
        return np.asarray([unit(1, len(text))[0] for text in texts])


def test_fixed_texts_are_embedded_once_for_each_model(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "cache"))
    model, texts = catalog[1], Texts()
    groups = [["a", "bb"], ["ccc"]]
    first = embedded(model, groups, lambda: texts)  # type: ignore[arg-type,return-value]
    mean = unit(1, 1)[0] + unit(1, 2)[0]
    np.testing.assert_allclose(first, [mean / np.linalg.norm(mean), unit(1, 3)[0]], atol=1e-6)
    again = embedded(model, groups, lambda: texts)  # type: ignore[arg-type,return-value]
    np.testing.assert_allclose(again, first, atol=1e-3)
    assert texts.asked == 3
    (file,) = (tmp_path / "cache" / "texts").iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    embedded(model, groups, lambda: texts)  # type: ignore[arg-type,return-value]
    assert texts.asked == 6
    file.unlink()
    monkeypatch.setattr(np, "save", cut_off)
    embedded(model, groups, lambda: texts)  # type: ignore[arg-type,return-value]
    assert not list(file.parent.iterdir())
    assert texts.asked == 9
    monkeypatch.setenv("SIGHTLINE_CACHE", str(file / "inside a file"))
    embedded(model, groups, lambda: texts)  # type: ignore[arg-type,return-value]
    assert texts.asked == 12
