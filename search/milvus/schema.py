"""What a collection looks like: its fields, its indexes, and how many photos ask for which."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.milvus.client import Server
from search.milvus.expressions import LONGEST_NAME

if TYPE_CHECKING:
    from pymilvus import CollectionSchema

FORM = 1
"""Of the fields below and of what stands in them; collections of another form are made anew, beside the old one."""
LONGEST = 65_535
"""Bytes of a text: the most that Milvus takes."""
MOST_APART = 4_096
"""Photos that one was said to be no duplicate of: as many as an array holds."""
EXACT_UP_TO = 200_000
"""Of so many photos every vector is compared, as FAISS does it here; above, a graph (HNSW) is searched."""
_GROWTH = 2
"""A collection keeps its kind of index until it has so many times more, or fewer, photos than that bound says."""

EXACT, GRAPH = "flat", "hnsw"
_BUILD = {"M": 32, "efConstruction": 256}
_TEXTS = ("words", "said", "written", "tags", "called")


def index_kind(photos: int, now: str | None) -> str:
    """`flat` or `hnsw`, for so many photos, where the collection has the kind `now` (None: there is none yet)."""
    if now is None:
        return EXACT if photos <= EXACT_UP_TO else GRAPH
    if now == EXACT:
        return EXACT if photos <= _GROWTH * EXACT_UP_TO else GRAPH
    return GRAPH if photos >= EXACT_UP_TO / _GROWTH else EXACT


def search_parameters(kind: str, limit: int) -> dict[str, object]:
    """How the vectors are searched for the `limit` best."""
    parameters: dict[str, object] = {"ef": min(32_768, max(2 * limit, 256))} if kind == GRAPH else {}
    return {"metric_type": "IP", "params": parameters}


def create(server: Server, name: str, dimensions: int, kind: str) -> None:
    """Make a collection, empty, and let it answer.

    Raises:
        MilvusError: the server refuses.
    """
    from pymilvus import MilvusClient

    indexes = MilvusClient.prepare_index_params()
    if kind == GRAPH:
        indexes.add_index("vector", index_type="HNSW", metric_type="IP", params=_BUILD)
    else:
        indexes.add_index("vector", index_type="FLAT", metric_type="IP")
    indexes.add_index("bm25", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
    for field in ("id", "day", "sort_at", "format", "kind", "shape"):
        indexes.add_index(field, index_type="INVERTED")
    server.create(name, _fields(dimensions), indexes, "Bounded")


def _fields(dimensions: int) -> CollectionSchema:
    from pymilvus import DataType, Function, FunctionType, MilvusClient

    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("key", DataType.INT64, is_primary=True)
    # Single precision: milvus-lite has no other; every number of the catalog's half precision is one of it.
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimensions)
    for field in ("day", "shape", "width", "height"):
        schema.add_field(field, DataType.INT64)
    schema.add_field("level", DataType.FLOAT)
    for field, most in {
        "id": 64, "digest": 64, "sort_at": 64, "taken_at": 64, "format": 64, "kind": 64, "camera": LONGEST_NAME,
        "folders": LONGEST, "folders_lowered": LONGEST, "parts": LONGEST, "caption": LONGEST, "details": LONGEST,
    }.items():  # fmt: skip
        schema.add_field(field, DataType.VARCHAR, max_length=most)
    schema.add_field("apart", DataType.ARRAY, element_type=DataType.INT64, max_capacity=MOST_APART)
    for field in _TEXTS:
        # The words were taken apart before; any analyzer leaves them as they are.
        schema.add_field(
            field,
            DataType.VARCHAR,
            max_length=LONGEST,
            enable_analyzer=True,
            enable_match=True,
            analyzer_params={"tokenizer": "standard"},
        )
    schema.add_field("bm25", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(
        Function("bm25_of_words", FunctionType.BM25, input_field_names=["words"], output_field_names=["bm25"])
    )
    return schema
