"""What every `VectorIndex` does, whichever engine is behind it: one suite over a plain product of
matrices, FAISS, exact and approximate, and Milvus."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from milvus_lite_server import MilvusLite
from support import active_model, entity

from search.catalog import changes
from search.catalog.connection import connect_to_write
from search.home import Home
from search.milvus.client import Server
from search.milvus.schema import create
from search.vectors import building, stored
from search.vectors import milvus as milvus_vectors
from search.vectors.building import Wanted
from search.vectors.flat import FlatIndex
from search.vectors.inverted import InvertedIndex
from search.vectors.matrix import MatrixIndex
from search.vectors.milvus import MilvusIndex
from search.vectors.protocol import Floats, Keys, VectorIndex
from search.vectors.recall import fetched

COUNT, DIMENSIONS = 10_000, 16
KEYS = np.arange(COUNT, dtype=np.int64) * 3 + 1
"""With gaps, as after photos were deleted."""
TWINS = (40, 777, 9000)
"""Places of the same vector: ties."""
ENGINES = ("matrix", "flat", "inverted", "milvus")
Make = Callable[[str], VectorIndex]


def unit(count: int, seed: int) -> Floats:
    vectors = np.random.default_rng(seed).normal(size=(count, DIMENSIONS)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


@pytest.fixture(scope="session")
def vectors() -> Floats:
    found = unit(COUNT, 0).astype(np.float16).astype(np.float32)
    found[list(TWINS)] = found[TWINS[0]]
    return found


@pytest.fixture(scope="session")
def server(milvus: MilvusLite) -> Iterator[Server]:
    with Server.connect(milvus.address()) as server:
        yield server


@pytest.fixture(scope="session")
def make(vectors: Floats, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes an index of all the vectors, once for each engine."""
    made: dict[str, VectorIndex] = {}

    def of(engine: str) -> VectorIndex:
        if engine not in made:
            made[engine] = _made(engine, vectors, server, tmp_path_factory.mktemp(engine))
        return made[engine]

    return of


def _made(engine: str, vectors: Floats, server: Server, folder: Path) -> VectorIndex:
    if engine == "matrix":
        return MatrixIndex(KEYS, vectors)
    if engine == "flat":
        return FlatIndex(KEYS, vectors)
    if engine == "inverted":
        return inverted(vectors, folder)
    create(server, "contract", DIMENSIONS, "flat")
    for start in range(0, COUNT, 2_000):
        rows = range(start, start + 2_000)
        server.call("upsert", "contract", [entity(int(KEYS[row]), vectors[row]) for row in rows], timeout=60)
    # What others have written there since is none of its business.
    server.call("upsert", "contract", [entity(int(KEYS[-1]) + 1, vectors[0])], timeout=60)
    return MilvusIndex(server, "contract", "flat", KEYS, DIMENSIONS)


@pytest.fixture(params=ENGINES)
def index(request: pytest.FixtureRequest, make: Make) -> VectorIndex:
    return make(request.param)


def inverted(vectors: Floats, folder: Path) -> VectorIndex:
    """Made from a catalog, as that of a large library is."""
    with closing(connect_to_write(Home(folder / "home"))) as connection:
        with connection:
            model = active_model(connection, DIMENSIONS)
            connection.executemany(
                "INSERT INTO photos (key, id, width, height, format, bytes, sort_at, added_at)"
                " VALUES (?, ?, 4, 3, 'JPEG', 9, '2020', '2020')",
                [(key, f"{key:032x}") for key in KEYS.tolist()],
            )
            for key, vector in zip(KEYS.tolist(), vectors, strict=True):
                changes.put_embedding(connection, model.key, key, stored.pack(vector))
        building.build(connection, model.key, DIMENSIONS, Wanted(0.98), folder)
    return InvertedIndex.read(folder)


def best(vectors: Floats, query: Floats, k: int, allowed: Keys | None = None) -> tuple[Floats, Keys]:
    """By brute force, ties by the smaller key."""
    passes = np.ones(COUNT, np.bool_) if allowed is None else np.isin(KEYS, allowed)
    scores, keys = vectors[passes] @ query, KEYS[passes]
    order = np.lexsort((keys, -scores))[:k]
    return scores[order], keys[order]


def check(index: VectorIndex, vectors: Floats, queries: Floats, k: int, allowed: Keys | None) -> None:
    """What is exact gives the best ones in their order; what is not has nearly all of the best among a few more."""
    asked = k if index.is_exact else fetched(k)
    scores, keys = index.search(queries, asked, allowed=allowed)
    assert scores.dtype == np.float32 and keys.dtype == np.int64 and scores.shape == keys.shape
    passing = COUNT if allowed is None else int(np.isin(KEYS, allowed).sum())
    assert keys.shape[1] <= asked
    found = 0
    for row, query in enumerate(queries):
        held = keys[row] >= 0
        assert (scores[row][~held] == -np.inf).all()
        kept = keys[row][held]
        assert len(set(kept.tolist())) == len(kept) and np.isin(kept, KEYS if allowed is None else allowed).all()
        assert (np.diff(scores[row][held]) <= 0).all()
        right, wanted = best(vectors, query, k, allowed)
        found += int(np.isin(wanted, kept).sum())
        if index.is_exact:
            assert len(kept) == min(k, passing)
            np.testing.assert_allclose(scores[row][held], right, atol=1e-6)
            # Sums are added up in another order: only what differs by more has a certain place.
            apart = np.diff(right, prepend=np.inf) < -1e-5
            sure = apart & np.append(apart[1:], True)
            assert kept[sure].tolist() == wanted[sure].tolist()
    assert found >= (1.0 if index.is_exact else 0.9) * len(queries) * min(k, passing)


@pytest.mark.parametrize("k", [1, 10, 200])
def test_the_best_of_all(index: VectorIndex, vectors: Floats, k: int) -> None:
    check(index, vectors, unit(3, 1), k, None)


@pytest.mark.parametrize("one_in", [2, 100, COUNT])
def test_the_best_of_what_a_filter_leaves(index: VectorIndex, vectors: Floats, one_in: int) -> None:
    for k in (10, 100):
        check(index, vectors, unit(3, 2), k, KEYS[3::one_in])


def test_the_best_where_the_filter_leaves_out_what_is_near(index: VectorIndex, vectors: Floats) -> None:
    query = unit(1, 3)
    far = KEYS[np.sort(np.argsort(-(vectors @ query[0]))[COUNT // 2 :])]
    check(index, vectors, query, 10, far)


def test_nothing_is_found_where_nothing_is_allowed(index: VectorIndex) -> None:
    for allowed in (KEYS[:0], np.asarray([2, 5], np.int64), np.asarray([10**9], np.int64)):
        _, keys = index.search(unit(2, 4), 5, allowed=allowed)
        assert len(keys) == 2 and (keys == -1).all()


def test_photos_that_are_not_held_may_be_among_those_allowed(index: VectorIndex) -> None:
    allowed = np.asarray([KEYS[5], KEYS[5] + 1, 10**6], np.int64)
    _, keys = index.search(unit(2, 4), 5, allowed=allowed)
    assert [row[row >= 0].tolist() for row in keys] == [[KEYS[5]], [KEYS[5]]]


def test_more_than_there_are(index: VectorIndex) -> None:
    allowed = KEYS[::500]
    _, keys = index.search(unit(2, 5), 1_000, allowed=allowed)
    assert all(sorted(row[row >= 0].tolist()) == allowed.tolist() for row in keys)


def test_of_the_same_scores_the_smaller_key_is_first(index: VectorIndex, vectors: Floats) -> None:
    twins = KEYS[list(TWINS)]
    for allowed in (None, KEYS[::1], twins):
        _, keys = index.search(vectors[TWINS[:1], :], 10, allowed=allowed)
        assert keys[0][:3].tolist() == twins.tolist()
    if index.is_exact:
        assert index.search(vectors[TWINS[:1], :], 1)[1].tolist() == [[twins[0]]]


def test_vectors_are_those_that_were_given(index: VectorIndex, vectors: Floats) -> None:
    places, found = index.vectors(np.asarray([KEYS[7], 2, KEYS[3], 10**9], np.int64))
    order = np.argsort(places)
    assert places[order].tolist() == [0, 2]
    # A byte for each dimension moves them a little.
    np.testing.assert_allclose(found[order], vectors[[7, 3]], atol=0 if index.is_exact else 0.02)
    places, found = index.vectors(KEYS[:0])
    assert len(places) == 0 and found.shape == (0, DIMENSIONS)


def test_its_keys_are_the_photos_it_was_made_of(index: VectorIndex) -> None:
    assert len(index) == COUNT
    assert np.array_equal(np.sort(index.keys), KEYS)


def test_an_empty_index_finds_nothing(server: Server) -> None:
    create(server, "nothing", DIMENSIONS, "flat")
    empty = KEYS[:0]
    indexes = (
        MatrixIndex(empty, unit(0, 0)),
        FlatIndex(empty, unit(0, 0)),
        MilvusIndex(server, "nothing", "flat", empty, DIMENSIONS),
    )
    for index in indexes:
        assert len(index) == 0
        for allowed in (None, KEYS, empty):
            scores, keys = index.search(unit(2, 6), 5, allowed=allowed)
            assert (keys == -1).all() and (scores == -np.inf).all()


def test_what_was_deleted_from_the_collection_is_not_found(server: Server, vectors: Floats) -> None:
    create(server, "deletes", DIMENSIONS, "flat")
    server.call("upsert", "deletes", [entity(int(KEYS[row]), vectors[row]) for row in range(200)])
    index = MilvusIndex(server, "deletes", "flat", KEYS[:200], DIMENSIONS)
    gone = index.search(vectors[:1], 3)[1][0]
    server.call("delete", "deletes", ids=gone.tolist())
    left = np.setdiff1d(KEYS[:200], gone)
    keys = index.search(vectors[:1], 200)[1][0]
    assert sorted(keys[keys >= 0].tolist()) == left.tolist()
    assert (index.search(vectors[:1], 3, allowed=gone)[1] == -1).all()
    assert len(index.vectors(KEYS[:10])[0]) == 10 - np.isin(KEYS[:10], gone).sum()


def test_deep_lists_and_filters_are_whole_though_milvus_gives_few_hits(
    make: Make, vectors: Floats, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With limits as small beside this library as the real ones are beside one of millions."""
    monkeypatch.setattr(milvus_vectors, "MOST", 256)
    monkeypatch.setattr(milvus_vectors, "_LISTED", 100)
    monkeypatch.setattr(milvus_vectors, "_FEW", 400)
    query = unit(1, 7)
    nearest = np.argsort(-(vectors @ query[0]))
    for k, allowed in (
        (10, KEYS[::2]),
        (400, None),
        (20, KEYS[np.sort(nearest[9_500:])]),
    ):
        check(make("milvus"), vectors, query, k, allowed)
    assert make("milvus").search(vectors[TWINS[:1], :], 1)[1].tolist() == [[KEYS[TWINS[0]]]]


def test_recall_of_a_graph_through_filters(server: Server, vectors: Floats) -> None:
    """HNSW, as large collections have it."""
    some = 4_000
    create(server, "graph", DIMENSIONS, "hnsw")
    for start in range(0, some, 2_000):
        rows = range(start, start + 2_000)
        server.call("upsert", "graph", [entity(int(KEYS[row]), vectors[row]) for row in rows], timeout=60)
    server.call("flush", "graph", timeout=60)  # before that, milvus-lite compares them all
    index = MilvusIndex(server, "graph", "hnsw", KEYS[:some], DIMENSIONS)
    assert not index.is_exact
    for allowed in (KEYS[:some], KEYS[:some:2], KEYS[:some:100], KEYS[some // 2 : some // 2 + 1]):
        check(index, vectors, unit(3, 8), 10, allowed)
