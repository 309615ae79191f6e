"""A collection in the place of a generation's files: what the catalog says of it, and opening it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import numpy as np

from search.catalog.model_records import ModelRecord
from search.errors import MilvusError
from search.home import Home
from search.milvus import facts
from search.milvus.address import Address
from search.milvus.client import Server
from search.milvus.sync import sync
from search.milvus.touched import Touched
from search.vectors import generations
from search.vectors.generations import Generation
from search.vectors.milvus import MilvusIndex

_KEYS = """
SELECT photo_key FROM embeddings JOIN photos ON photos.key = photo_key
WHERE model_key = ? AND embeddings.key <= ? AND orphaned_at IS NULL ORDER BY photo_key
"""


def publish(
    home: Home,
    connection: sqlite3.Connection,
    model: ModelRecord,
    address: Address,
    advance: Callable[[int], None] = lambda done: None,
    *,
    touched: Touched | None = None,
    thoroughly: bool = False,
) -> bool:
    """Bring the collection of this model to what is committed, and name it in the catalog as a generation; `advance`,
    `touched` and `thoroughly` are as in `search.milvus.sync.sync`. Whether there was anything to do.

    Raises:
        UnreachableError: Milvus does not answer; the catalog is as it was.
        MilvusError: it refuses.
    """
    synced = sync(connection, model, address, advance, touched=touched, thoroughly=thoroughly)
    named = {"milvus": str(address), "collection": synced.collection, "kind": synced.kind}
    newest = generations.newest(connection, model.key)
    if not synced.changed and newest is not None and newest.checksums == named and newest.through == synced.through:
        return False
    if not synced.photos:
        return synced.changed  # a generation of nothing is none
    generations.name(home, connection, model, synced.photos, synced.through, named)
    return True


def open_collection(connection: sqlite3.Connection, model: ModelRecord, generation: Generation) -> MilvusIndex:
    """The index of a generation that is a collection.

    Raises:
        UnreachableError: Milvus does not answer.
        MilvusError: it refuses, or has not got that collection any more.
    """
    address = Address.parse(generation.checksums["milvus"])
    collection = generation.checksums["collection"]
    assert address is not None
    server = Server.connect(address)
    known = facts.read(server, collection)
    if known is None or not server.call("has_collection", collection):
        server.close()
        raise MilvusError(
            f"Milvus at {address} does not hold the photos of this index any more; run `sightline index` to put them "
            "there again."
        )
    server.load(collection)
    rows = connection.execute(_KEYS, (model.key, generation.through))
    keys = np.fromiter(rows, dtype=[("key", np.int64)])["key"]
    return MilvusIndex(server, collection, known.kind, keys, model.dimensions)
