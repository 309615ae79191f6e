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
    """A model's identity as the index keeps it: its name and the fingerprint of its weights.

    `logit_scale` and `logit_bias` turn a cosine into the model's own logit; the bias is None but for sigmoid models.
    """

    key: int
    name: str
    fingerprint: str
    dimensions: int
    logit_scale: float
    logit_bias: float | None

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


def every(connection: sqlite3.Connection) -> list[ModelRecord]:
    """All models that have embedded photos."""
    return [ModelRecord(*row) for row in connection.execute(f"SELECT {_COLUMNS} FROM models ORDER BY key")]


def activate(connection: sqlite3.Connection, key: int) -> None:
    """From this commit on, queries use the model `key`."""
    settings.put(connection, "active_model", str(key))
    connection.execute("UPDATE models SET left_at = NULL WHERE key = ?", (key,))
    connection.execute("UPDATE models SET left_at = ? WHERE key <> ? AND left_at IS NULL", (now(), key))


def let_go(connection: sqlite3.Connection, kept: timedelta = KEPT) -> int:
    """Delete the models that were left as long ago as `kept`, with all that they made of photos, but for the one that
    the home is to use next; returns how many."""
    limit = (datetime.fromisoformat(now()) - kept).isoformat(timespec="seconds")
    return connection.execute(
        "DELETE FROM models WHERE left_at <= ? AND name IS NOT ? AND key IS NOT ?",
        (limit, settings.get(connection, "model"), settings.get(connection, "active_model")),
    ).rowcount


def register(
    connection: sqlite3.Connection,
    *,
    name: str,
    fingerprint: str,
    dimensions: int,
    logit_scale: float,
    logit_bias: float | None,
) -> ModelRecord:
    """The record of this model, made if it is not there yet."""
    connection.execute(
        "INSERT INTO models (name, fingerprint, dimensions, logit_scale, logit_bias, added_at) VALUES (?,?,?,?,?,?)"
        " ON CONFLICT (name, fingerprint) DO NOTHING",
        (name, fingerprint, dimensions, logit_scale, logit_bias, now()),
    )
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM models WHERE name = ? AND fingerprint = ?", (name, fingerprint)
    ).fetchone()
    return ModelRecord(*row)
