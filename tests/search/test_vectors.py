from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from support import active_model

from search.catalog import changes, settings
from search.catalog.connection import connect_to_read, connect_to_write
from search.catalog.model_records import ModelRecord
from search.home import Home
from search.vectors import stored
from search.vectors.flat import FlatIndex
from search.vectors.generations import newest, open_generation, publish, unpublished
from search.vectors.protocol import Floats
from search.vectors.snapshot import take


def unit(count: int, dimensions: int = 16, seed: int = 0) -> Floats:
    vectors = np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def test_search_equals_brute_force_with_and_without_a_filter(tmp_path: Path) -> None:
    vectors, keys = unit(500).astype(np.float16).astype(np.float32), np.arange(500, dtype=np.int64) * 3 + 1
    index = FlatIndex(keys, vectors)
    query = unit(3, seed=1)
    for allowed in (None, keys[::7], np.asarray([4, 5, 100_000], dtype=np.int64), keys[:0]):
        scores, found = index.search(query, 20, allowed=allowed)
        kept = np.ones(500, bool) if allowed is None else np.isin(keys, allowed)
        for row in range(3):
            exact = vectors[kept] @ query[row]
            best = np.argsort(-exact)[:20]
            assert found[row].tolist() == keys[kept][best].tolist()
            np.testing.assert_allclose(scores[row], exact[best], atol=1e-5)
    index.write(tmp_path)
    again = FlatIndex.read(tmp_path)
    assert again.search(query, 5)[1].tolist() == index.search(query, 5)[1].tolist()


def test_few_photos_are_searched_without_importing_faiss(
    home: Home, filled: tuple[sqlite3.Connection, ModelRecord, Floats]
) -> None:
    connection, model, vectors = filled
    with closing(connection):
        publish(home, connection, model)
    program = f"""
import sys
from pathlib import Path
from search.catalog.connection import connect_to_read
from search.home import Home
from search.vectors.snapshot import take
import numpy
connection = connect_to_read(Home(Path({str(home.path)!r})))
snapshot = take(Home(Path({str(home.path)!r})), connection, None)
query = numpy.frombuffer(sys.stdin.buffer.read(), numpy.float32)
print(*snapshot.search(connection, query, 5)[1], "faiss" in sys.modules)
"""
    said = subprocess.run([sys.executable, "-c", program], input=vectors[7].tobytes(), capture_output=True, check=True)
    best = np.argsort(-(vectors @ vectors[7]))[:5] + 1
    assert said.stdout.decode().split() == [*map(str, best), "False"]


def test_half_precision_moves_a_cosine_by_less_than_a_thousandth() -> None:
    vectors = unit(200, 384)
    kept = stored.unpack([stored.pack(vector) for vector in vectors], 384)
    assert np.abs(kept @ vectors.T - vectors @ vectors.T).max() < 1e-3


def photo(number: int) -> changes.NewPhoto:
    return changes.NewPhoto(f"{number:032x}", 4, 3, "JPEG", 9, None, "2020-01-01T00:00:00", None, None, None, None)


@pytest.fixture
def filled(home: Home) -> tuple[sqlite3.Connection, ModelRecord, Floats]:
    """A catalog of twenty embedded photos, each in a file, not published yet."""
    connection = connect_to_write(home)
    with connection:
        library = changes.add_library(connection, b"/photos")
        model = active_model(connection, 16)
    vectors = unit(20)
    add(connection, model, library, vectors, range(20))
    return connection, model, vectors


def add(connection: sqlite3.Connection, model: ModelRecord, library: int, vectors: Floats, numbers: range) -> None:
    with connection:
        for number, vector in zip(numbers, vectors, strict=True):
            key = changes.put_photo(connection, photo(number))
            changes.put_embedding(connection, model.key, key, stored.pack(vector))
            changes.put_file(
                connection,
                library_key=library,
                folder=b"/photos",
                name=b"%d.jpg" % number,
                size=9,
                mtime_ns=1,
                photo_key=key,
            )
        settings.grow_revision(connection)


def test_a_reader_sees_commits_before_and_after_publishing_and_no_orphan(
    home: Home, filled: tuple[sqlite3.Connection, ModelRecord, Floats]
) -> None:
    connection, model, vectors = filled
    with closing(connection), closing(connect_to_read(home)) as reader:
        first = take(home, reader, None)
        assert first is not None and first.generation is None and len(first.base) == 20
        generation = publish(home, connection, model)
        assert generation is not None and generation.photos == 20 and unpublished(connection, model.key) == 0

        extra = unit(5, seed=9)
        add(connection, model, 1, extra, range(20, 25))
        second = take(home, reader, None)
        assert second is not None and (second.generation, len(second.base), sum(map(len, second.recent))) == (1, 20, 5)
        assert second.search(reader, extra[2], 1)[1].tolist() == [23]
        assert second.search(reader, vectors[4], 1)[1].tolist() == [5]

        with connection:
            key, folder, name = connection.execute("SELECT key, folder, name FROM files WHERE photo_key = 5").fetchone()
            assert changes.forget_file(connection, key, folder, name) == 5
            changes.mark_orphans(connection, [5])
            settings.grow_revision(connection)
        third = take(home, reader, second)
        assert third is not None and third.base is second.base
        assert 5 not in third.search(reader, vectors[4], 100)[1]
        assert second.search(reader, vectors[4], 1)[1].tolist() == [5]  # a snapshot never changes under its reader
        assert take(home, reader, third) is third


def test_photos_that_come_one_by_one_are_all_seen(
    home: Home, filled: tuple[sqlite3.Connection, ModelRecord, Floats]
) -> None:
    """Each new one is a piece of the snapshot until they are too many, and then are read anew as one."""
    connection, model, vectors = filled
    extra, snapshot = unit(40, seed=9), None
    with closing(connection), closing(connect_to_read(home)) as reader:
        for number, one in enumerate(extra, start=20):
            snapshot = take(home, reader, snapshot)
            add(connection, model, 1, one[None], range(number, number + 1))
        snapshot = take(home, reader, snapshot)
        assert snapshot is not None and 1 < len(snapshot.recent) < 32 and snapshot.live.tolist() == list(range(1, 61))
        for key, one in enumerate(np.concatenate([vectors, extra]), start=1):
            assert snapshot.search(reader, one, 1)[1].tolist() == [key]


@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped"])
def test_a_damaged_generation_is_built_anew_from_the_catalog(
    home: Home, filled: tuple[sqlite3.Connection, ModelRecord, Floats], damage: str
) -> None:
    connection, model, vectors = filled
    with closing(connection):
        publish(home, connection, model)
        generation = newest(connection, model.key)
        assert generation is not None
        file = home.vectors_dir / generation.folder / "index.faiss"
        content = bytearray(file.read_bytes())
        if damage == "missing":
            file.unlink()
        elif damage == "truncated":
            file.write_bytes(content[:100])
        else:
            content[-7] ^= 0x40
            file.write_bytes(content)
        index, through, number = open_generation(home, connection, model)
        assert number is None and through == generation.through and len(index) == 20
        assert index.search(vectors[:1], 1)[1].tolist() == [[1]]


def test_old_generations_go_and_the_one_before_stays(
    home: Home, filled: tuple[sqlite3.Connection, ModelRecord, Floats]
) -> None:
    connection, model, _ = filled
    with closing(connection):
        for _ in range(4):
            publish(home, connection, model)
        assert sorted(folder.name for folder in home.vectors_dir.iterdir()) == [
            "generation-00000003",
            "generation-00000004",
        ]
