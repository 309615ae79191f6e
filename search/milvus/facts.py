"""What a collection is as a whole: of which model, of how many photos, which state of the catalog it shows.

The facts of all collections on a server stand in one small collection of their own, a row each: properties that a
collection may have are for the server's use, and not every version keeps others.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

from search.background import Background
from search.catalog.model_records import ModelRecord
from search.errors import MilvusError
from search.milvus.client import WRITE_SECONDS, Server
from search.milvus.schema import FORM, LONGEST

COLLECTIONS = "sightline_collections"
"""The collection of facts."""


@dataclass(frozen=True)
class Facts:
    """Of one collection.

    Attributes:
        collection: its name.
        kind: of its vector index, `flat` or `hnsw`.
        model: what embedded the photos; `key` is the home's own number.
        photos: how many there are; while they are being written, how many there will be.
        least_level: the lowest level of a photo (see `search.background`).
        background: what is to be expected of a text; None before it was measured.
        pair_distance: see `search.vectors.snapshot.Snapshot.pair_distance`.
        state: which state of the catalog it shows; '' while it is being written.
        revision: the catalog's revision then.
        status: of the home, as `sightline status` has it, for nodes to show.
        facets: of all photos, as `search.facets.Facets` has them in JSON; None where they are too many to keep.
    """

    collection: str
    kind: str
    model: ModelRecord
    photos: int
    least_level: float
    background: Background | None
    pair_distance: float
    state: str
    revision: int
    status: dict[str, Any]
    facets: dict[str, Any] | None
    form: int = FORM

    def to_json(self) -> str:
        """For `from_json`."""
        document = asdict(self)
        if len(text := json.dumps(document, allow_nan=False)) > LONGEST:
            document["facets"] = None
        while len(text := json.dumps(document, allow_nan=False)) > LONGEST:
            libraries = document["status"]["libraries"]
            document["status"]["libraries"] = libraries[: len(libraries) // 2]
        return text

    @classmethod
    def from_json(cls, text: str) -> Facts:
        """The facts in a row.

        Raises:
            KeyError, TypeError, ValueError: they are none, or of another form.
        """
        document = json.loads(text)
        if document["form"] != FORM:
            raise ValueError
        known = document["background"]
        document["background"] = Background(**known) if known else None
        document["model"] = ModelRecord(**document["model"])
        facts = cls(**document)
        if not all(map(math.isfinite, (facts.least_level, facts.pair_distance))):
            raise ValueError
        return facts


def read(server: Server, collection: str, consistency: str = "Strong") -> Facts | None:
    """The facts of a collection; None where there are none that this version understands."""
    rows = _rows(server, f'name == "{collection}"', consistency)
    try:
        return Facts.from_json(rows[0]["facts"]) if rows else None
    except (KeyError, TypeError, ValueError):
        return None


def _rows(server: Server, condition: str, consistency: str) -> list[dict[str, Any]]:
    if not server.call("has_collection", COLLECTIONS):
        return []
    return server.rows(COLLECTIONS, condition, ["name", "facts"], consistency)


def write(server: Server, facts: Facts) -> None:
    """Put the facts of a collection in the place of what was said of it before."""
    if not server.call("has_collection", COLLECTIONS):
        _create(server)
    row = {"name": facts.collection, "facts": facts.to_json(), "nothing": [0.0, 0.0]}
    server.call("upsert", COLLECTIONS, [row], timeout=WRITE_SECONDS)


def forget(server: Server, collection: str) -> None:
    """Drop a collection, its facts, and names that still stand for it: while there are any, servers refuse."""
    for alias in server.call("list_aliases", collection)["aliases"]:
        server.call("drop_alias", alias)
    server.call("drop_collection", collection, timeout=WRITE_SECONDS)
    if server.call("has_collection", COLLECTIONS):
        server.call("delete", COLLECTIONS, ids=[collection], timeout=WRITE_SECONDS)


def named(server: Server) -> str | None:
    """The collection that the address's name stands for; None where it stands for none."""
    try:
        found = server.call("describe_alias", server.address.name)
    except MilvusError as error:
        # Servers tell by different numbers that there is no such alias, and all of them by a word.
        if type(error) is MilvusError and "alias" in str(error.__cause__).lower():
            return None
        raise
    return str(found["collection_name"])


def named_of(server: Server, prefix: str) -> str | None:
    """As `named`, of a home whose collections' names begin with `prefix`.

    Raises:
        MilvusError: the name stands for what somebody else keeps there.
    """
    collection = named(server)
    if collection is not None and not collection.startswith(prefix):
        address = server.address
        raise MilvusError(
            f"At {address} readers find what another home keeps there ({collection}); choose another name, "
            f"`sightline index --vectors milvus:{address.uri}#NAME`, or drop the alias {address.name} if that home is "
            "no more."
        )
    return collection


def point(server: Server, collection: str) -> None:
    """Let the address's name stand for a collection: at once, for every reader."""
    before = named(server)
    if before == collection:
        return
    method = "create_alias" if before is None else "alter_alias"
    server.call(method, collection, server.address.name, timeout=WRITE_SECONDS)


def _create(server: Server) -> None:
    from pymilvus import DataType, MilvusClient

    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("name", DataType.VARCHAR, is_primary=True, max_length=255)
    schema.add_field("facts", DataType.VARCHAR, max_length=LONGEST)
    schema.add_field("nothing", DataType.FLOAT_VECTOR, dim=2)  # a collection must have vectors
    indexes = MilvusClient.prepare_index_params()
    indexes.add_index("nothing", index_type="FLAT", metric_type="IP")
    server.create(COLLECTIONS, schema, indexes, "Strong")
