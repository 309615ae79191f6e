"""Embeddings of many fixed texts, such as a vocabulary: made once for each model and kept in a cache."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from search.catalog.model_records import ModelRecord
from search.home import cache_dir
from search.vectors.protocol import Floats
from search.vocabulary import sentences

if TYPE_CHECKING:
    from pathlib import Path

    from search.models.encoder import Encoder

_CHUNK = 512


def embedded(
    model: ModelRecord,
    groups: Sequence[Sequence[str]],
    encoder: Callable[[], Encoder],
    advance: Callable[[int], None] = lambda done: None,
) -> Floats:
    """The mean direction of each group of wordings, float32[n, d], unit length.

    What was made before for the same model and texts is read from the cache; else `encoder` is asked for, and `advance`
    hears how many texts are done. A cache that cannot be written costs nothing but the time to make them again.
    """
    file = _file(model, groups)
    kept = _read(file, (len(groups), model.dimensions))
    if kept is not None:
        return kept
    texts = [text for group in groups for text in group]
    parts = []
    for start in range(0, len(texts), _CHUNK):
        parts.append(encoder().embed_texts(texts[start : start + _CHUNK]))
        advance(min(len(texts), start + _CHUNK))
    vectors = np.concatenate(parts)
    starts = np.cumsum([0, *(len(group) for group in groups[:-1])])
    means = np.add.reduceat(vectors, starts, axis=0)
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    _write(file, means)
    return np.asarray(means, dtype=np.float32)


def embedded_sentences(
    model: ModelRecord, encoder: Callable[[], Encoder], advance: Callable[[int], None] = lambda done: None
) -> Floats:
    """Those of Sightline's own sentences, which stand for any text: float32[n, d], unit length; see `embedded`."""
    return embedded(model, [[sentence] for sentence in sentences()], encoder, advance)


def _file(model: ModelRecord, groups: Sequence[Sequence[str]]) -> Path:
    digest = hashlib.blake2b("\n\n".join("\n".join(group) for group in groups).encode(), digest_size=8)
    return cache_dir() / "texts" / f"{model.weights}-{digest.hexdigest()}.npy"


def _read(file: Path, shape: tuple[int, int]) -> Floats | None:
    try:
        vectors = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    # Half precision may make numbers of a damaged file that are none.
    return vectors.astype(np.float32) if vectors.shape == shape and np.isfinite(vectors).all() else None


def _write(file: Path, vectors: Floats) -> None:
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        stream = tempfile.NamedTemporaryFile(dir=file.parent, prefix=".writing-", delete=False)  # noqa: SIM115
        try:
            with stream:
                np.save(stream, vectors.astype("<f2"))
            os.replace(stream.name, file)
        except BaseException:
            os.unlink(stream.name)  # of a disk that is full, say
            raise
