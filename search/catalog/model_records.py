"""Which models have embeddings in this catalog, and which of them answers."""

from __future__ import annotations

import math
import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta

from search.catalog import settings
from search.catalog.clock import now

KEPT = timedelta(days=1)
"""How long an earlier model can be gone back to for nothing, and readers that have not noticed find its vectors."""


@dataclass(frozen=True)
class ModelRecord:
    """A model's identity as the index keeps it: its name, and a fingerprint of what makes its embeddings what they are.

    Of that the first part tells the weights, the second one the preprocessing (which catalogs of schema 5 and before do
    not know), and the third one the precision, where a certain one was asked for; hyphens join them. `logit_scale` and
    `logit_bias` turn a cosine into the model's own logit; the bias is None but for sigmoid models.
    """

    key: int
    name: str
    fingerprint: str
    dimensions: int
    logit_scale: float
    logit_bias: float | None

    @property
    def weights(self) -> str:
        """The fingerprint of the weights alone: all that embeddings of texts depend on."""
        return self.fingerprint.partition("-")[0]

    @property
    def precision(self) -> str:
        """In which numbers its photos are embedded: `auto`, which is whatever suits the device, or a certain one."""
        parts = self.fingerprint.split("-")
        return parts[2] if len(parts) > 2 else "auto"

    def is_made_with(self, weights: str, preprocessing: str) -> bool:
        """Whether photos were embedded with these weights and this preprocessing, named by their fingerprints."""
        of_weights, _, others = self.fingerprint.partition("-")
        return of_weights == weights and others.partition("-")[0] in ("", preprocessing)

    def probability(self, similarity: float) -> float | None:
        """What a sigmoid model makes of a cosine, by its own scale and bias; None for other models."""
        if self.logit_bias is None:
            return None
        return 1.0 / (1.0 + math.exp(-(self.logit_scale * similarity + self.logit_bias)))


_COLUMNS = "key, name, fingerprint, dimensions, logit_scale, logit_bias"


def active(connection: sqlite3.Connection) -> ModelRecord | None:
    """The model that queries use, or None before the first photo was embedded."""
    key = settings.get(connection, "active_model")
    row = connection.execute(f"SELECT {_COLUMNS} FROM models WHERE key = ?", (key,)).fetchone() if key else None
    return ModelRecord(*row) if row else None


def every(connection: sqlite3.Connection, condition: str = "true", *values: str) -> list[ModelRecord]:
    """All models that have embedded photos, or those that meet a condition in SQL."""
    found = connection.execute(f"SELECT {_COLUMNS} FROM models WHERE {condition} ORDER BY key", values)
    return [ModelRecord(*row) for row in found]


def activate(connection: sqlite3.Connection, key: int) -> None:
    """From this commit on, queries use the model `key`."""
    settings.put(connection, "active_model", str(key))
    connection.execute("UPDATE models SET left_at = NULL WHERE key = ?", (key,))
    connection.execute("UPDATE models SET left_at = ? WHERE key <> ? AND left_at IS NULL", (now(), key))


def let_go(connection: sqlite3.Connection, kept: timedelta = KEPT) -> int:
    """Delete the models that were left as long ago as `kept`, with all that they made of photos, but for the one that
    the home is to use next; returns how many."""
    limit = (datetime.fromisoformat(now()) - kept).isoformat(timespec="seconds")
    answering, following = active(connection), wanted(connection)
    keys = [
        model.key
        for model in every(connection, "left_at <= ?", limit)
        if model != answering and (is_wanted(answering, following) or not is_wanted(model, following))
    ]
    connection.executemany("DELETE FROM models WHERE key = ?", [(key,) for key in keys])
    return len(keys)


def embeddings(connection: sqlite3.Connection, key: int) -> int:
    """How many photos the model has embedded, orphans included."""
    return int(connection.execute("SELECT count(*) FROM embeddings WHERE model_key = ?", (key,)).fetchone()[0])


def has_embedded_all(connection: sqlite3.Connection, key: int) -> bool:
    """Whether the model has embedded every photo there is. Foreign keys see to it that an embedding is of a photo, and
    each photo has one at most; so numbers tell it, in a fraction of the time that asking for those without takes."""
    (photos,) = connection.execute("SELECT count(*) FROM photos").fetchone()
    return embeddings(connection, key) == int(photos)


def wanted(connection: sqlite3.Connection) -> tuple[str | None, str]:
    """The name and the precision of the model that the home is to use: those of the last run that chose."""
    return settings.get(connection, "model"), settings.get(connection, "precision") or "auto"


def is_wanted(model: ModelRecord | None, following: tuple[str | None, str]) -> bool:
    """Whether this is a model of that name and precision."""
    return model is not None and (model.name, model.precision) == following


def register(
    connection: sqlite3.Connection,
    *,
    name: str,
    weights: str,
    preprocessing: str,
    precision: str,
    dimensions: int,
    logit_scale: float,
    logit_bias: float | None,
) -> ModelRecord:
    """The record of this model, made if it is not there yet; `weights` and `preprocessing` are fingerprints."""
    fingerprint = f"{weights}-{preprocessing}"
    if precision == "auto":
        # An earlier version knew the weights alone; whatever preprocessing there was is this one.
        connection.execute(
            "UPDATE OR IGNORE models SET fingerprint = ? WHERE name = ? AND fingerprint = ?",
            (fingerprint, name, weights),
        )
    else:
        fingerprint += f"-{precision}"
    connection.execute(
        "INSERT INTO models (name, fingerprint, dimensions, logit_scale, logit_bias, added_at) VALUES (?,?,?,?,?,?)"
        " ON CONFLICT (name, fingerprint) DO NOTHING",
        (name, fingerprint, dimensions, logit_scale, logit_bias, now()),
    )
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM models WHERE name = ? AND fingerprint = ?", (name, fingerprint)
    ).fetchone()
    return ModelRecord(*row)
