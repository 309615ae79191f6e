"""Embeddings as the catalog stores them: half precision, which moves a cosine by less than 0.001."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator

import numpy as np

from search.vectors.protocol import Floats, Keys

_CHUNK = 20_000
_UNIT = 0.001


def pack(vector: Floats) -> bytes:
    """float32[d] as the bytes of float16[d]."""
    return vector.astype("<f2").tobytes()


def unpack(blobs: list[bytes], dimensions: int) -> Floats:
    """The bytes of n vectors as float32[n, d]; zeros for what is no vector any more, since the catalog is damaged
    there: it is like nothing, and keeps no other photo from being found. What is not of unit length is brought back to
    it."""
    empty = bytes(2 * dimensions)
    whole = [blob if isinstance(blob, bytes) and len(blob) == len(empty) else empty for blob in blobs]
    vectors = np.frombuffer(b"".join(whole), dtype="<f2").reshape(len(blobs), dimensions).astype(np.float32)
    with np.errstate(invalid="ignore"):
        norms = np.linalg.norm(vectors, axis=1)
    vectors[~np.isfinite(norms)] = 0
    # Half precision leaves of a length of one less than that; what is as it was packed stays so to the bit.
    off = np.flatnonzero(np.isfinite(norms) & (np.abs(norms - 1) > _UNIT))
    vectors[off] /= np.maximum(norms[off], 1e-12)[:, None]
    return vectors


def chunks(
    connection: sqlite3.Connection, model_key: int, dimensions: int, *, after: int = 0
) -> Iterator[tuple[Keys, Floats, int]]:
    """Embeddings of one model, committed later than number `after`, orphans' included, some at a time.

    An orphan stays in the index (searches leave it out), so that a photo that comes back is found at once.

    Yields:
        photo keys int64[n], vectors float32[n, d], and the number of the last of these embeddings.
    """
    while rows := connection.execute(
        "SELECT key, photo_key, vector FROM embeddings WHERE model_key = ? AND key > ? ORDER BY key LIMIT ?",
        (model_key, after, _CHUNK),
    ).fetchall():
        after = rows[-1][0]
        yield np.asarray([row[1] for row in rows], np.int64), unpack([row[2] for row in rows], dimensions), after


def load(
    connection: sqlite3.Connection, model_key: int, dimensions: int, *, after: int = 0
) -> tuple[Keys, Floats, int]:
    """All that `chunks` yields, at once: photo keys int64[n], vectors float32[n, d], and the number of the last
    embedding, `after` where there is none."""
    keys, parts = [np.empty(0, np.int64)], [np.empty((0, dimensions), np.float32)]
    for some_keys, vectors, last in chunks(connection, model_key, dimensions, after=after):
        keys.append(some_keys)
        parts.append(vectors)
        after = last
    return np.concatenate(keys), np.concatenate(parts), after


def numbers(connection: sqlite3.Connection, model_key: int) -> tuple[Keys, Keys]:
    """The numbers of all embeddings of one model, int64[n], ascending, and whose they are, int64[n]."""
    rows = connection.execute("SELECT key, photo_key FROM embeddings WHERE model_key = ? ORDER BY key", (model_key,))
    found = np.fromiter(rows, dtype=[("key", np.int64), ("photo", np.int64)])
    return np.ascontiguousarray(found["key"]), np.ascontiguousarray(found["photo"])


def some(connection: sqlite3.Connection, numbers: Keys, dimensions: int) -> Floats:
    """The embeddings of these `numbers`, int64[n], ascending, all of which there are: float32[n, d]."""
    found = np.empty((len(numbers), dimensions), np.float32)
    for start in range(0, len(numbers), _CHUNK):
        part = numbers[start : start + _CHUNK]
        rows = connection.execute(
            "SELECT vector FROM embeddings WHERE key IN (SELECT value FROM json_each(?)) ORDER BY key",
            (json.dumps(part.tolist()),),
        ).fetchall()
        found[start : start + len(part)] = unpack([row[0] for row in rows], dimensions)
    return found


def of_photos(connection: sqlite3.Connection, model_key: int, keys: Keys, dimensions: int) -> tuple[Keys, Floats]:
    """The embeddings of those of the photos `keys` (int64[n]) that have one: their places in `keys`, int64[m], and
    float32[m, d]."""
    # CROSS: SQLite would rather go through all embeddings, since it does not know how few are asked for.
    rows = connection.execute(
        "SELECT asked.key, vector FROM json_each(?) AS asked CROSS JOIN embeddings"
        " ON model_key = ? AND photo_key = asked.value",
        (json.dumps(keys.tolist()), model_key),
    ).fetchall()
    return np.asarray([row[0] for row in rows], np.int64), unpack([row[1] for row in rows], dimensions)


def of_photo(connection: sqlite3.Connection, model_key: int, photo_key: int, dimensions: int) -> Floats | None:
    """The embedding float32[d] of one photo, or None where it has none of this model."""
    row = connection.execute(
        "SELECT vector FROM embeddings WHERE model_key = ? AND photo_key = ?", (model_key, photo_key)
    ).fetchone()
    return unpack([row[0]], dimensions)[0] if row else None
