"""Embeddings as the catalog stores them: half precision, which moves a cosine by less than 0.001."""

from __future__ import annotations

import sqlite3

import numpy as np

from search.vectors.protocol import Floats, Keys

_CHUNK = 20_000


def pack(vector: Floats) -> bytes:
    """float32[d] as the bytes of float16[d]."""
    return vector.astype("<f2").tobytes()


def unpack(blobs: list[bytes], dimensions: int) -> Floats:
    """The bytes of n vectors as float32[n, d], brought back to unit length; zeros for what is no vector any more, since
    the catalog is damaged there: it is like nothing, and keeps no other photo from being found."""
    empty = bytes(2 * dimensions)
    whole = [blob if isinstance(blob, bytes) and len(blob) == len(empty) else empty for blob in blobs]
    vectors = np.frombuffer(b"".join(whole), dtype="<f2").reshape(len(blobs), dimensions).astype(np.float32)
    with np.errstate(invalid="ignore"):
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[~np.isfinite(norms[:, 0])] = 0
    norms[~np.isfinite(norms)] = 1
    return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)


def load(
    connection: sqlite3.Connection, model_key: int, dimensions: int, *, after: int = 0
) -> tuple[Keys, Floats, int]:
    """Embeddings of one model, committed later than number `after`, orphans' included.

    An orphan stays in the index (searches leave it out), so that a photo that comes back is found at once.

    Returns:
        photo keys int64[n], vectors float32[n, d], and the number of the last embedding seen.
    """
    keys: list[int] = []
    parts: list[Floats] = []
    last = after
    while True:
        rows = connection.execute(
            "SELECT key, photo_key, vector FROM embeddings WHERE model_key = ? AND key > ? ORDER BY key LIMIT ?",
            (model_key, last, _CHUNK),
        ).fetchall()
        if not rows:
            break
        last = rows[-1][0]
        keys.extend(row[1] for row in rows)
        parts.append(unpack([row[2] for row in rows], dimensions))
    vectors = np.concatenate(parts) if parts else np.empty((0, dimensions), np.float32)
    return np.asarray(keys, dtype=np.int64), vectors, last


def of_photo(connection: sqlite3.Connection, model_key: int, photo_key: int, dimensions: int) -> Floats | None:
    """The embedding float32[d] of one photo, or None where it has none of this model."""
    row = connection.execute(
        "SELECT vector FROM embeddings WHERE model_key = ? AND photo_key = ?", (model_key, photo_key)
    ).fetchone()
    return unpack([row[0]], dimensions)[0] if row else None
