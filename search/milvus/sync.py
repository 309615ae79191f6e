"""Bringing a collection to what the catalog says.

The catalog is the one commit point; a collection is derived from it, as a generation of FAISS is. Both are gone through
side by side, some keys at a time, and what differs is written or deleted. So it does not matter where an earlier try
was cut off, or what was lost on the server: the next one ends with the same collection.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from search import background, failpoints
from search.catalog import model_records, settings
from search.catalog.connection import one_state
from search.catalog.model_records import ModelRecord
from search.errors import MilvusError
from search.facets import facets
from search.milvus import facts as all_facts
from search.milvus import home_address
from search.milvus.address import Address
from search.milvus.client import WRITE_SECONDS, Row, Server
from search.milvus.entities import Entities
from search.milvus.facts import Facts
from search.milvus.schema import EXACT, FORM, GRAPH, create, index_kind
from search.milvus.touched import Touched, state_of
from search.overview import Overview
from search.status import contents
from search.vectors import stored
from search.vectors.protocol import Keys
from search.vectors.snapshot import pair_distance, sample

_RANGE = 8_192
"""Keys that are compared at a time: no more rows than a query may give."""
_LIVE = "FROM embeddings JOIN photos ON photos.key = photo_key WHERE model_key = ? AND orphaned_at IS NULL"
_BATCH_BYTES = 16_000_000
"""Of entities in one request: a server takes 64 MB as a rule."""
_MANY = 1_000
"""After so many entities were written they are sealed: searches of what is not are slow, since it has no index."""


@dataclass(frozen=True)
class Synced:
    """What became of a collection.

    Attributes:
        collection: its name; `kind` is that of its vector index.
        photos: how many it holds.
        through: the number of the last embedding that it covers.
        changed: whether anything was written, if only what it is as a whole.
        written, deleted: how many entities were.
    """

    collection: str
    kind: str
    photos: int
    through: int
    changed: bool = False
    written: int = 0
    deleted: int = 0


def sync(
    connection: sqlite3.Connection,
    model: ModelRecord,
    address: Address,
    advance: Callable[[int], None] = lambda done: None,
    *,
    touched: Touched | None = None,
    thoroughly: bool = False,
) -> Synced:
    """Bring the collection of this model to what is committed, and let the address's name stand for it.

    Args:
        connection: of the home's catalog.
        model: the one that answers.
        address: of Milvus, and of the name that readers ask for.
        advance: hears how many photos were written.
        touched: knows what has changed, if nothing is looked at besides.
        thoroughly: also where the collection says that it shows what is committed.

    Raises:
        UnreachableError: Milvus does not answer; what was written before stays, and the next try goes on from there.
        MilvusError: it refuses, or the name stands for what another home keeps there.
    """
    with one_state(connection), Server.connect(address) as server:
        prefix, state, through = _prefix(connection), state_of(connection), _through(connection, model)
        (photos,) = connection.execute(f"SELECT count(*) {_LIVE}", (model.key,)).fetchone()
        existing, named = set(server.call("list_collections")), all_facts.named_of(server, prefix)
        now = next((kind for kind in (EXACT, GRAPH) if _name(prefix, model, kind) in existing), None)
        kind = index_kind(photos, now)
        collection = _name(prefix, model, kind)
        is_there, known = collection in existing, all_facts.read(server, collection)
        if is_there and known is not None and known.state == state and not thoroughly:
            whole = server.count(collection) == photos
            if whole and named == collection:
                return Synced(collection, kind, photos, through)
        entities = Entities(connection, model)
        target = _facts(connection, model, collection, kind, entities, state)
        if is_there and known is None and named != collection:
            # It was made and never named: what it lacks cannot be told.
            all_facts.forget(server, target.collection)
            is_there = False
        if not is_there:
            create(server, target.collection, model.dimensions, target.kind)
        else:
            server.load(target.collection)
        # Until all is written it shows no state that the catalog could come back to.
        all_facts.write(server, replace(target, state=""))
        failpoints.reach("collection marked")
        changed = None if touched is None or known is None else touched.since(known.state)
        written = deleted = 0
        # What was lost in Milvus is not among what has changed: then all is looked at.
        for keys in (changed, None) if changed is not None else (None,):
            for some, gone in _differences(server, collection, entities, keys):
                for batch in _batches(some):
                    server.call("upsert", collection, batch, timeout=WRITE_SECONDS)
                    written += len(batch)
                    failpoints.reach("entities written")
                if len(gone):
                    server.call("delete", collection, ids=gone.tolist(), timeout=WRITE_SECONDS)
                    deleted += len(gone)
                advance(written)
            if (held := server.count(collection)) == target.photos:
                break
        else:
            raise MilvusError(
                f"Milvus at {address} holds {held:,} photos after {target.photos:,} were written; see that nothing "
                f"else writes to {collection}, and run `sightline index` again."
            )
        if written >= _MANY:
            with suppress(MilvusError):  # it only makes searches faster
                server.call("flush", collection, timeout=WRITE_SECONDS)
        all_facts.write(server, target)
        all_facts.point(server, target.collection)
        failpoints.reach("collection named")
        _drop_others(server, connection, prefix, target.collection)
        version = touched.version() if touched is not None else 0
    if touched is not None:
        touched.begin(state, version)
    return Synced(target.collection, target.kind, target.photos, through, True, written, deleted)


def differences(connection: sqlite3.Connection, model: ModelRecord, address: Address) -> tuple[int, int]:
    """How many photos of the catalog are not, or otherwise, in the collection that readers find, and how many are there
    that should not; nothing is written.

    Raises:
        UnreachableError, MilvusError: as `sync` does.
    """
    with one_state(connection), Server.connect(address) as server:
        entities = Entities(connection, model)
        collection = all_facts.named_of(server, _prefix(connection))
        known = all_facts.read(server, collection) if collection else None
        if collection is None or known is None or known.model.fingerprint != model.fingerprint:
            return len(entities.keys), 0
        missing = superfluous = 0
        for some, gone in _differences(server, collection, entities, None):
            missing, superfluous = missing + len(some), superfluous + len(gone)
        return missing, superfluous


def _differences(
    server: Server, collection: str, entities: Entities, among: Keys | None
) -> Iterator[tuple[list[Row], Keys]]:
    """What is to be written and which keys are to be deleted, some keys at a time: of all, or of those `among` which
    the differences are."""
    if among is not None:
        for start in range(0, len(among), _RANGE):
            some = among[start : start + _RANGE]
            condition = f"key in {some.tolist()}"
            yield _compared(server, collection, condition, entities, some[np.isin(some, entities.keys)])
        return
    keys, low = entities.keys, 0
    while True:
        start, end = np.searchsorted(keys, [low, low + _RANGE])
        if start == len(keys):
            break
        if end == start:  # nothing in this range any more; whatever the collection has there goes
            high = int(keys[start])
            yield from _superfluous(server, collection, low, high)
            low = high
            continue
        condition = f"key >= {low} and key < {low + _RANGE}"
        yield _compared(server, collection, condition, entities, keys[start:end])
        low += _RANGE
    yield from _superfluous(server, collection, low, None)


def _compared(
    server: Server, collection: str, condition: str, entities: Entities, keys: Keys
) -> tuple[list[Row], Keys]:
    """What of the photos `keys` is to be written, and which keys that meet the condition are of none of them."""
    digests = {row["key"]: row["digest"] for row in server.rows(collection, condition, ["key", "digest"])}
    wanted = list(entities.of(keys))
    there = {row["key"] for row in wanted}
    gone = np.asarray(sorted(key for key in digests if key not in there), np.int64)
    return [row for row in wanted if digests.get(row["key"]) != row["digest"]], gone


def _superfluous(server: Server, collection: str, low: int, high: int | None) -> Iterator[tuple[list[Row], Keys]]:
    """The keys from `low` on and below `high` that a collection has, to be deleted, some at a time."""
    bound = "" if high is None else f" and key < {high}"
    rows = server.all_rows(collection, f"key >= {low}{bound}", ["key"], "Strong")
    found = np.asarray([row["key"] for row in rows], np.int64)
    for start in range(0, len(found), _RANGE):
        yield [], found[start : start + _RANGE]


def _batches(rows: list[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    size = 0
    for row in rows:
        takes = row["vector"].nbytes + sum(len(value) for value in row.values() if isinstance(value, str)) * 2
        if batch and size + takes > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += takes
    if batch:
        yield batch


def _prefix(connection: sqlite3.Connection) -> str:
    """What the names of all collections of this home begin with."""
    return f"sightline_{home_address.identity(connection)}_"


def _name(prefix: str, model: ModelRecord, kind: str) -> str:
    identity = hashlib.blake2b(f"{model.name} {model.fingerprint}".encode(), digest_size=6).hexdigest()
    return f"{prefix}{identity}_{kind}_{FORM}"


def _facts(
    connection: sqlite3.Connection, model: ModelRecord, collection: str, kind: str, entities: Entities, state: str
) -> Facts:
    """What the collection is to be as a whole."""
    some = entities.keys[sample(len(entities.keys))]
    _, vectors = stored.of_photos(connection, model.key, some, model.dimensions)
    return Facts(
        collection,
        kind,
        model,
        len(entities.keys),
        float(entities.levels.min()) if len(entities.levels) else 0.0,
        background.read(connection, model.key),
        pair_distance(vectors) if len(vectors) > 1 else 0.0,
        state,
        settings.revision(connection),
        contents(connection),
        facets(Overview.read(connection), None).to_json(),
    )


def _through(connection: sqlite3.Connection, model: ModelRecord) -> int:
    row = connection.execute("SELECT max(key) FROM embeddings WHERE model_key = ?", (model.key,)).fetchone()
    return int(row[0] or 0)


def _drop_others(server: Server, connection: sqlite3.Connection, prefix: str, but: str) -> None:
    """Drop the collections of this home that no model of the catalog needs any more: going back to one costs nothing
    for as long as its embeddings are kept."""
    kept = {but}
    for model in model_records.every(connection):
        kept |= {_name(prefix, model, kind) for kind in (EXACT, GRAPH)}
    current = but.rsplit("_", 2)[0]
    for name in server.call("list_collections"):
        if name.startswith(prefix) and (name not in kept or (name.startswith(f"{current}_") and name != but)):
            all_facts.forget(server, name)
