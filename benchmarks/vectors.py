"""Vector indexes by size, beside exact search and others' graphs, over the same embeddings.

    python -m benchmarks.vectors [--photos 10000 100000 1000000] [--peers] [--recall 0.98]

The embeddings are those of `benchmarks.embeddings`. Sightline's are committed to a catalog and published as a run
publishes them; a query is what a search asks of a snapshot, the comparison with the catalog's embeddings included.
`--peers` adds FAISS's HNSW, and the indexes of hnswlib and usearch where these packages are installed, all of which
hold the vectors in memory. Each is tuned on 256 texts until it finds the share `--recall` of the ten nearest, and
measured on 300 others, one at a time in one thread: texts, which are what is mostly asked, and what is hardest.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import importlib.util
import itertools
import os
import platform
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.embeddings import Embeddings, made_up_model
from search.catalog import model_records, settings
from search.catalog.connection import connect_to_write
from search.home import Home
from search.vectors.building import RECALL, Wanted
from search.vectors.generations import publish
from search.vectors.protocol import Floats, Keys
from search.vectors.snapshot import Snapshot, take

DIMENSIONS = 512
AT = 10
EFFORTS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
SHARES = (0.5, 0.01, 0.0001)
IN_MEMORY = 3_000_000
"""Of more photos nothing is measured that holds them all in memory."""
_ROWS = 100_000


@dataclass(frozen=True)
class Peer:
    """An index of others, in memory: what searches it for one query, what makes it look harder, its size in bytes."""

    search: Callable[[Floats], Keys]
    effort: Callable[[int], object]
    size: int


def exact(vectors: Floats) -> Peer:
    """FAISS's `IndexFlatIP`, in single precision."""
    import faiss

    index = faiss.IndexFlatIP(DIMENSIONS)
    index.add(vectors)
    return Peer(lambda query: index.search(query[None], AT)[1][0], lambda effort: None, vectors.nbytes)


def hnsw(vectors: Floats) -> Peer:
    """FAISS's HNSW of 32 links, with its default of 40 candidates while it is built."""
    import faiss

    index = faiss.IndexHNSWFlat(DIMENSIONS, 32, faiss.METRIC_INNER_PRODUCT)
    index.add(vectors)
    size = faiss.serialize_index(index).nbytes
    return Peer(
        lambda query: index.search(query[None], AT)[1][0], lambda effort: setattr(index.hnsw, "efSearch", effort), size
    )


def hnswlib(vectors: Floats) -> Peer:
    """Hnswlib as its documentation has it: 16 links, 200 candidates while it is built."""
    index = importlib.import_module("hnswlib").Index("ip", DIMENSIONS)
    index.init_index(len(vectors), M=16, ef_construction=200)
    index.add_items(vectors)
    index.set_num_threads(1)
    return Peer(
        lambda query: index.knn_query(query, AT)[0][0].astype(np.int64), index.set_ef, int(index.index_file_size())
    )


def usearch(vectors: Floats) -> Peer:
    """Usearch with its defaults, in half precision."""
    index = importlib.import_module("usearch.index").Index(ndim=DIMENSIONS, metric="ip", dtype="f16")
    index.add(np.arange(len(vectors)), vectors)
    return Peer(
        lambda query: np.asarray(index.search(query, AT, threads=1).keys).astype(np.int64),
        lambda effort: setattr(index, "expansion_search", effort),
        int(index.serialized_length),
    )


class Table:
    """Rows of one size of library; times are compared with those of exact search, the first row."""

    def __init__(self, library: Embeddings, asked: Floats, truth: Keys) -> None:
        self.library, self.asked, self.truth = library, asked, truth
        self.exact: float | None = None

    def row(self, name: str, build: float, size: int, search: Callable[[Floats], Keys]) -> None:
        """Measure `search` and print its row."""
        times, found = timed(search, self.asked)
        p50, p95 = np.percentile(np.asarray(times) * 1000, [50, 95])
        if self.library.photos <= IN_MEMORY:
            self.exact = self.exact or float(p50)
        ratio = f"{self.exact / p50:.1f}" if self.exact else "-"
        bytes_each = size / self.library.photos
        print(
            f"{self.library.photos:<9} {name:<20} {build:7.1f}  {bytes_each:12.0f}  {p50:6.2f}  {p95:6.2f}"
            f"  {hits(found, self.truth):9.3f}  {ratio:>7}",
            flush=True,
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = [10_000, 100_000, 1_000_000]
    parser.add_argument("--photos", type=lambda value: int(float(value)), nargs="+", default=sizes)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--recall", type=float, default=RECALL)
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, {DIMENSIONS} dimensions, recall {arguments.recall}")
    print("photos    index                build s  bytes/vector  p50 ms  p95 ms  recall@10  × exact")
    for photos in arguments.photos:
        measure(Embeddings(photos, DIMENSIONS), arguments.recall, arguments.peers)


def measure(library: Embeddings, recall: float, peers: bool) -> None:
    """One size: exact search, then Sightline's index in a catalog on the disk, then those of others."""
    asked, tuning = library.texts(300, seed=2), library.texts(256, seed=3)
    truth = nearest(library, np.concatenate([asked, tuning]))[0]
    table = Table(library, asked, truth)
    if library.photos <= IN_MEMORY:
        held_in_memory(table, "FAISS IndexFlatIP", exact, tuning, 0.0)
    with tempfile.TemporaryDirectory() as folder, closing(connect_to_write(Home(Path(folder)))) as connection:
        commit(connection, library)
        for target in (1.0, recall) if library.photos <= IN_MEMORY else (recall,):
            seconds, size, snapshot = published(Home(Path(folder)), connection, library, target)
            if snapshot.base.is_exact and target < 1:
                break  # small enough for nothing else
            name = "Sightline, exact" if snapshot.base.is_exact else "Sightline"
            table.row(name, seconds, size, lambda query, s=snapshot: s.search(connection, query, AT)[1] - 1)  # type: ignore[misc]
        filters(library, snapshot, connection, asked[:100])
    for name, build in (
        (("FAISS HNSW32", hnsw), ("hnswlib", hnswlib), ("usearch", usearch))
        if peers and library.photos <= IN_MEMORY
        else ()
    ):
        if name.startswith("FAISS") or importlib.util.find_spec(name):
            held_in_memory(table, name, build, tuning, recall)


def held_in_memory(table: Table, name: str, build: Callable[[Floats], Peer], tuning: Floats, recall: float) -> None:
    """Build and tune one of the others, and measure it."""
    vectors = np.concatenate(list(table.library.chunks())).astype(np.float16).astype(np.float32)
    began = time.perf_counter()
    peer = build(vectors)
    seconds = time.perf_counter() - began
    del vectors
    for effort in EFFORTS:
        peer.effort(effort)
        if not recall or hits(timed(peer.search, tuning)[1], table.truth[len(table.asked) :]) >= recall:
            break
    table.row(name, seconds, peer.size, peer.search)


def published(
    home: Home, connection: sqlite3.Connection, library: Embeddings, recall: float
) -> tuple[float, int, Snapshot]:
    """The seconds that it takes to publish, the bytes of what was published, and what a search sees then."""
    model = model_records.active(connection)
    assert model is not None
    began = time.perf_counter()
    generation = publish(home, connection, model, Wanted(recall, lambda: library.texts(1024, seed=4)))
    seconds = time.perf_counter() - began
    snapshot = take(home, connection, None)
    assert snapshot is not None and generation is not None
    folder = home.vectors_dir / generation.folder
    return seconds, sum(file.stat().st_size for file in folder.iterdir()), snapshot


def commit(connection: sqlite3.Connection, library: Embeddings) -> None:
    """Put the embeddings into a catalog, of photos that nothing else is known of."""
    with connection:
        model = made_up_model(connection, DIMENSIONS)
    rows = enumerate(halves(library), 1)
    while some := list(itertools.islice(rows, _ROWS)):  # in pieces: what waits for its commit lies on the disk twice
        with connection:
            connection.executemany(
                "INSERT INTO photos (key, id, width, height, format, bytes, sort_at, added_at)"
                " VALUES (?, ?, 4, 3, 'JPEG', 9, '2020', '2020')",
                ((key, f"{key:032x}") for key, _ in some),
            )
            connection.executemany(
                "INSERT INTO embeddings (model_key, photo_key, vector) VALUES (?, ?, ?)",
                ((model.key, key, vector.tobytes()) for key, vector in some),
            )
    with connection:
        settings.grow_revision(connection)


def halves(library: Embeddings) -> Iterator[Any]:
    """Each embedding in half precision."""
    for chunk in library.chunks():
        yield from chunk.astype("<f2")


def nearest(library: Embeddings, queries: Floats, *passing: npt.NDArray[np.bool_]) -> list[Keys]:
    """The places of the nearest photos to each query, best first, int64[q, AT]: of all photos, then of those that pass
    each filter, bool[n]."""
    best = [np.empty((len(queries), 0), np.int64) for _ in range(1 + len(passing))]
    scores = [np.empty((len(queries), 0), np.float32) for _ in best]
    start = 0
    for chunk in library.chunks():
        near = queries @ chunk.astype(np.float16).astype(np.float32).T
        for number, table in enumerate((None, *passing)):
            among = np.arange(len(chunk)) if table is None else np.flatnonzero(table[start : start + len(chunk)])
            best[number] = np.hstack([best[number], np.broadcast_to(among + start, (len(queries), len(among)))])
            scores[number] = np.hstack([scores[number], near[:, among]])
            if scores[number].shape[1] > AT:
                some = np.argpartition(-scores[number], AT, axis=1)[:, :AT]
                best[number] = np.take_along_axis(best[number], some, axis=1)
                scores[number] = np.take_along_axis(scores[number], some, axis=1)
        start += len(chunk)
    orders = [np.argsort(-some, axis=1) for some in scores]
    return [np.take_along_axis(places, order, axis=1) for places, order in zip(best, orders, strict=True)]


def filters(library: Embeddings, snapshot: Snapshot, connection: sqlite3.Connection, asked: Floats) -> None:
    """What is left of the recall behind filters that let photos pass which lie anywhere, or those of some events."""
    named: list[tuple[str, Keys]] = []
    for share in SHARES:
        count = max(AT, int(share * library.photos))
        anywhere = np.sort(np.random.default_rng(0).choice(library.photos, count, replace=False))
        named += [(f"{share:7.2%} anywhere", anywhere), (f"{share:7.2%} of some events", library.events(share))]
    tables = [np.zeros(library.photos, np.bool_) for _ in named]
    for table, (_, places) in zip(tables, named, strict=True):
        table[places] = True
    for (name, places), truth in zip(named, nearest(library, asked, *tables)[1:], strict=True):
        times, found = timed(functools.partial(filtered, snapshot, connection, places + 1), asked)
        print(
            f"{library.photos:<9} {name:<22} {'':21} {np.median(times) * 1000:6.2f} {'':7}  {hits(found, truth):9.3f}",
            flush=True,
        )


def filtered(snapshot: Snapshot, connection: sqlite3.Connection, keys: Keys, query: Floats) -> Keys:
    """The best of some photos; each time as if the filter were a new one."""
    return snapshot.search(connection, query, AT, allowed=keys.copy())[1] - 1


def timed(search: Callable[[Floats], Keys], queries: Floats) -> tuple[list[float], list[Keys]]:
    """The seconds that each query takes, and what it finds."""
    search(queries[0])
    times, found = [], []
    for query in queries:
        began = time.perf_counter()
        found.append(search(query))
        times.append(time.perf_counter() - began)
    return times, found


def hits(found: list[Keys], truth: Keys) -> float:
    """The recall of what was found."""
    return float(np.mean([len(set(one) & set(other)) / len(other) for one, other in zip(found, truth, strict=False)]))


if __name__ == "__main__":
    main()
