"""What texts in general make of a library: the background against which one text is judged.

Some photos are near to every text (grey textures, blurred ones); and how near the best photo is to a text that shows in
none depends on the model and on the library. Both are measured with a bank of sentences, on stored embeddings alone.

*Level* of a photo: the mean of its highest similarities to the bank's sentences. A part of it is taken from its
similarity to a query, so that photos near to everything lose their advantage (after Bogolin et al., "Cross Modal
Retrieval with Querybank Normalisation", CVPR 2022, and Chowdhury et al., "Nearest Neighbor Normalization Improves
Multimodal Retrieval", EMNLP 2024).
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from search.vectors import stored
from search.vectors.protocol import Floats, Keys

if TYPE_CHECKING:
    from search.ranking_settings import RankingSettings

_CHUNK = 4096


@dataclass(frozen=True)
class Background:
    """Of a library, in corrected similarities.

    Attributes:
        expected: the best photo's score for a typical sentence (the median over the bank).
        spread: the standard deviation of all scores, of every photo with every sentence.
    """

    expected: float
    spread: float


def identity(sentences: Sequence[str], ranking: RankingSettings) -> str:
    """The name of a bank of sentences, and of how photos are measured with it."""
    named = "\n".join([f"{ranking.hub_sentences} {ranking.hub_weight}", *sentences])
    return hashlib.blake2b(named.encode(), digest_size=8).hexdigest()


def read(connection: sqlite3.Connection, model_key: int) -> Background | None:
    """The background of the library for this model, or None where it was not measured yet."""
    row = connection.execute("SELECT maxima, spread FROM backgrounds WHERE model_key = ?", (model_key,)).fetchone()
    return Background(float(np.median(np.frombuffer(row[0], "<f4"))), row[1]) if row else None


class Levels(NamedTuple):
    """The levels of a model's photos, as far as they are known.

    Attributes:
        state: another one after any of them changed.
        keys: int64[n], sorted.
        values: float32[n].
    """

    state: tuple[object, ...]
    keys: Keys
    values: Floats

    @classmethod
    def read(cls, connection: sqlite3.Connection, model_key: int, before: Levels | None = None) -> Levels:
        """Those that a connection sees; those `before`, if they still are the same."""
        # Adding them up takes a tenth of the time that reading them does.
        state = connection.execute(
            "SELECT ?1, count(*), total(level), total(photo_key) FROM levels WHERE model_key = ?1", (model_key,)
        ).fetchone()
        if before is not None and before.state == state:
            return before
        rows = connection.execute(
            "SELECT photo_key, level FROM levels WHERE model_key = ? ORDER BY photo_key", (model_key,)
        )
        found = np.fromiter(rows, dtype=[("key", np.int64), ("level", np.float32)])
        return cls(state, np.ascontiguousarray(found["key"]), np.ascontiguousarray(found["level"]))

    def of(self, keys: Keys) -> Floats:
        """The level of each of the photos `keys` (int64[n]): float32[n], the mean of all where it is not known yet, and
        0 where none is."""
        if not len(self.keys) or not len(keys):
            return np.zeros(len(keys), np.float32)
        table = np.full(max(int(self.keys[-1]), int(keys.max())) + 1, self.values.mean(), np.float32)
        table[self.keys] = self.values
        found: Floats = table[keys]
        return found


def unmeasured(connection: sqlite3.Connection, model_key: int, bank: str) -> int:
    """How many embeddings the background must still be told of; all, where it was measured with another bank or when
    the library had less than half, or more than twice, of the photos that it has now."""
    total = _count(connection, "embeddings", model_key)
    row = connection.execute("SELECT bank, photos FROM backgrounds WHERE model_key = ?", (model_key,)).fetchone()
    (live,) = connection.execute("SELECT count(*) FROM photos WHERE orphaned_at IS NULL").fetchone()
    if not live:
        return 0
    if row is None or row[0] != bank or not row[1] / 2 <= live <= 2 * row[1]:
        return total
    return total - _count(connection, "levels", model_key)


@dataclass(frozen=True)
class Measured:
    """What `measure` found, for `keep`.

    Attributes:
        anew: whether it is of all photos, and takes the place of what was known.
        levels: the key and the level of each photo that was measured.
        photos: how many of these are live.
        maxima: float32[n], the score of the best live photo for each sentence of the bank.
        spread: of all scores of live photos.
    """

    anew: bool
    levels: list[tuple[int, float]]
    photos: int
    maxima: Floats
    spread: float


def measure(
    connection: sqlite3.Connection, model_key: int, bank: str, sentences: Floats, ranking: RankingSettings
) -> Measured:
    """Measure what `unmeasured` counts; writes nothing. `sentences`, float32[n, d], embed the bank."""
    anew = unmeasured(connection, model_key, bank) == _count(connection, "embeddings", model_key)
    known = "" if anew else " AND embeddings.photo_key NOT IN (SELECT photo_key FROM levels WHERE model_key = :model)"
    maxima = np.full(len(sentences), -np.inf, np.float32)
    found: list[tuple[int, float]] = []
    photos = last = 0
    total = squares = 0.0
    nearest = min(ranking.hub_sentences, len(sentences))
    while rows := connection.execute(
        "SELECT embeddings.key, photo_key, vector, orphaned_at IS NULL FROM embeddings"
        " JOIN photos ON photos.key = photo_key"
        f" WHERE model_key = :model AND embeddings.key > :last{known} ORDER BY embeddings.key LIMIT :chunk",
        {"model": model_key, "last": last, "chunk": _CHUNK},
    ).fetchall():
        last = rows[-1][0]
        scores = stored.unpack([row[2] for row in rows], sentences.shape[1]) @ sentences.T
        levels = np.partition(scores, -nearest, axis=1)[:, -nearest:].mean(axis=1)
        found += [(row[1], float(level)) for row, level in zip(rows, levels, strict=True)]
        # Photos that are gone may come back, but nothing is found among them meanwhile.
        live = np.array([row[3] for row in rows], np.bool_)
        scores = (scores - ranking.hub_weight * levels[:, None])[live]
        if len(scores):
            maxima = np.maximum(maxima, scores.max(axis=0))
            total, squares = total + float(scores.sum()), squares + float(np.square(scores).sum())
            photos += len(scores)
    pairs = max(1, photos * len(sentences))
    return Measured(anew, found, photos, maxima, float(np.sqrt(max(0.0, squares / pairs - (total / pairs) ** 2))))


def keep(connection: sqlite3.Connection, model_key: int, bank: str, measured: Measured) -> None:
    """Keep what was measured, in the caller's transaction."""
    if measured.anew:
        connection.execute("DELETE FROM levels WHERE model_key = ?", (model_key,))
        connection.execute("DELETE FROM backgrounds WHERE model_key = ?", (model_key,))
    connection.executemany(
        "INSERT OR REPLACE INTO levels (model_key, photo_key, level) VALUES (?, ?, ?)",
        [(model_key, *one) for one in measured.levels],
    )
    if not measured.photos:
        return
    if measured.anew:
        connection.execute(
            "INSERT INTO backgrounds (model_key, bank, photos, maxima, spread) VALUES (?, ?, ?, ?, ?)",
            (model_key, bank, measured.photos, measured.maxima.astype("<f4").tobytes(), measured.spread),
        )
        return
    # The spread hardly changes with some more photos; the best photo of each sentence may be among them.
    (before,) = connection.execute("SELECT maxima FROM backgrounds WHERE model_key = ?", (model_key,)).fetchone()
    maxima = np.maximum(measured.maxima, np.frombuffer(before, "<f4"))
    connection.execute(
        "UPDATE backgrounds SET maxima = ? WHERE model_key = ?", (maxima.astype("<f4").tobytes(), model_key)
    )


def _count(connection: sqlite3.Connection, table: str, model_key: int) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {table} WHERE model_key = ?", (model_key,)).fetchone()[0])
