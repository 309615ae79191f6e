"""How fast the last long run on a CPU embedded, from which it can be told how long another model would take."""

from __future__ import annotations

import json
import socket
import sqlite3
from dataclasses import asdict, dataclass

from search.catalog import settings

_NAME = "pace"


@dataclass(frozen=True)
class Pace:
    """What a photo has cost.

    Attributes:
        model_key: which model embedded.
        host: on which machine.
        precision: in which numbers it computed, `fp32` or `bf16`.
        seconds: for each photo, with reading and decoding.
        share: how much of the processors' time the model took, 0 to 1; the rest is the same for every model.
    """

    model_key: int
    host: str
    precision: str
    seconds: float
    share: float

    def with_model(self, times: float) -> float:
        """Seconds for each photo with a model that takes so many times as much of a processor's time."""
        return self.seconds * (1 + self.share * (times - 1))

    def in_model(self, times: float) -> float:
        """Seconds for what needs nothing but the model, so many times as long as a photo did."""
        return self.seconds * self.share * times


def put(connection: sqlite3.Connection, model_key: int, precision: str, seconds: float, share: float) -> None:
    """Keep what a photo has cost on this machine, in the caller's transaction."""
    pace = Pace(model_key, socket.gethostname(), precision, seconds, share)
    settings.put(connection, _NAME, json.dumps(asdict(pace)))


def last(connection: sqlite3.Connection, model_key: int) -> Pace | None:
    """What a photo has cost this model on this machine, or None where that was not measured."""
    kept = settings.get(connection, _NAME)
    pace = Pace(**json.loads(kept)) if kept else None
    return pace if pace and (pace.model_key, pace.host) == (model_key, socket.gethostname()) else None
