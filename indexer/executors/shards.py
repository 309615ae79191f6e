"""What travels between a Ray driver and its workers: files as rows of Arrow tables, and what came of them.

A file has a number in its run, by which its answer is told from others: whatever a cluster repeats after a worker has
died is taken once. Pixels never travel; embeddings do in half precision, as the catalog keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from indexer.executors.messages import Answer
from indexer.pipeline import ReadFile
from indexer.scan import FoundFile
from search.catalog.changes import Look, NewPhoto
from search.errors import ExecutorError

if TYPE_CHECKING:
    from search.vectors.protocol import Floats

_FILES = pa.schema(
    [
        ("number", pa.int64()),
        ("folder", pa.binary()),
        ("name", pa.binary()),
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("known", pa.int64()),
    ]
)
_PHOTO = pa.struct(
    [
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("format", pa.string()),
        ("bytes", pa.int64()),
        ("taken_at", pa.string()),
        ("sort_at", pa.string()),
        ("camera", pa.string()),
        ("lens", pa.string()),
        ("latitude", pa.float64()),
        ("longitude", pa.float64()),
        ("flatness", pa.float64()),
        ("preview", pa.binary()),
        ("perceptual_hash", pa.int64()),
    ]
)
_ANSWERS = pa.schema(
    [
        ("number", pa.int64()),
        ("node", pa.string()),
        ("fault", pa.string()),
        ("foreseen", pa.bool_()),
        ("id", pa.string()),
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("failure", pa.string()),
        ("left_alone", pa.bool_()),
        ("photo", _PHOTO),
        ("embedding", pa.binary()),
    ]
)


def files_table(numbers: Sequence[int], files: Mapping[int, FoundFile]) -> pa.Table:
    """Those of the files that have these numbers, as a table."""
    rows = [{"number": number, **asdict(files[number])} for number in numbers]
    return pa.Table.from_pylist(rows, _FILES)


def files_of(table: pa.Table) -> dict[int, FoundFile]:
    """The files of a table, by their numbers."""
    return {row.pop("number"): FoundFile(**row) for row in table.to_pylist()}


def answer_table(node: str, numbers: Sequence[int], files: Sequence[ReadFile], vectors: Floats) -> pa.Table:
    """What came of files, of which those with a photo have `vectors`, float32[m, d]."""
    packed = iter(vectors.astype("<f2"))
    rows = [
        {
            "number": number,
            "node": node,
            "id": file.id,
            "size": file.size,
            "mtime_ns": file.mtime_ns,
            "failure": file.failure,
            "left_alone": file.left_alone,
            "photo": None if file.photo is None else _flat(file.photo),
            "embedding": None if file.photo is None else next(packed).tobytes(),
        }
        for number, file in zip(numbers, files, strict=True)
    ]
    return pa.Table.from_pylist(rows, _ANSWERS)


def fault_table(node: str, numbers: Sequence[int], fault: str, *, foreseen: bool = True) -> pa.Table:
    """That a worker can do nothing, and why: in a sentence, where that was foreseen, else with its traceback."""
    row = {"node": node, "fault": fault, "foreseen": foreseen}
    return pa.Table.from_pylist([{"number": number, **row} for number in numbers], _ANSWERS)


def answer_of(table: pa.Table, left: dict[int, FoundFile]) -> Answer:
    """What a table says of those of its files that are `left`, which they are not any more.

    Raises:
        ExecutorError: a worker can do nothing.
        RuntimeError: it can do nothing, by a fault of the program.
    """
    rows = [row for row in table.to_pylist() if row["number"] in left]
    fault = next((row for row in rows if row["fault"] is not None), None)
    if fault is not None:
        raise ExecutorError(fault["fault"]) if fault["foreseen"] else RuntimeError(fault["fault"])
    node = rows[0]["node"] if rows else ""
    packed = [row["embedding"] for row in rows if row["photo"] is not None]
    vectors = np.frombuffer(b"".join(packed), "<f2").reshape(len(packed), -1 if packed else 0)
    return Answer(node, [_read(row, left.pop(row["number"])) for row in rows], vectors)


def _flat(photo: NewPhoto) -> dict[str, Any]:
    preview, perceptual_hash = photo.look or (None, None)
    return {**asdict(replace(photo, look=None)), "preview": preview, "perceptual_hash": perceptual_hash}


def _read(row: dict[str, Any], found: FoundFile) -> ReadFile:
    photo = row["photo"]
    if photo is not None:
        preview, perceptual_hash = photo.pop("preview"), photo.pop("perceptual_hash")
        look = None if preview is None else Look(preview, perceptual_hash)
        photo = NewPhoto(id=row["id"], look=look, **photo)
    return ReadFile(
        found, row["id"], row["size"], row["mtime_ns"], photo, failure=row["failure"], left_alone=row["left_alone"]
    )
