"""Which model a run embeds with: what the user asked for, else what the home remembers, else `auto`; and that model,
loaded once."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from indexer.report import IndexOptions
from search.catalog import model_records, settings

if TYPE_CHECKING:
    from search.models.encoder import Encoder


class LoadedModel:
    """The model that a run has loaded, at its first need; kept for the next run by whoever keeps this."""

    def __init__(self) -> None:
        self._encoder: Encoder | None = None
        self._of: tuple[str, ...] = ()

    def get(self, name: str, options: IndexOptions) -> Encoder:
        """The model of this name, for the device and the precision of the options; loaded anew where its weights were
        replaced on the disk.

        Raises:
            ModelError: it cannot be loaded.
        """
        wanted = (name, weights_stamp(name), options.device, options.precision)
        if self._encoder is None or self._of != wanted:
            from search.models.encoder import load_encoder

            self._encoder = None
            self._encoder = load_encoder(
                name, device=options.device, precision=options.precision, allow_download=options.download
            )
            self._of = wanted
        return self._encoder

    def release(self) -> None:
        """Let go of it."""
        self._encoder, self._of = None, ()


@dataclass(frozen=True)
class ModelChoice:
    """A model's name, and whether what the index already holds of it can be trusted without loading it.

    `settled` is true where the index's model has this name and its weights' files are as they were. A `lasting` choice
    is what the home uses from this run on.
    """

    name: str
    settled: bool
    reason: str | None = None
    lasting: bool = True


def choose(connection: sqlite3.Connection, asked: str | None, *, download: bool) -> ModelChoice:
    """The model to use; `download` says whether one that is not on this machine may be. Raises ModelError where the
    name cannot be one.
    """
    from search.models.names import resolve

    name = asked or settings.get(connection, "model") or "auto"
    reason = None
    if name == "auto":
        from search.models.hub import choose_auto

        chosen, reason = choose_auto(download=download)
        name = chosen.name
    else:
        name = resolve(name).name
    active = model_records.active(connection)
    settled = (
        active is not None and active.name == name and settings.get(connection, "weights_stamp") == weights_stamp(name)
    )
    return ModelChoice(name, settled, reason)


def answers_as_it_did(connection: sqlite3.Connection) -> bool:
    """Whether there is a model that answers, and its weights' files are those that the photos were embedded with."""
    active = model_records.active(connection)
    return active is not None and settings.get(connection, "weights_stamp") == weights_stamp(active.name)


def weights_stamp(name: str) -> str:
    """Size and date of a local model's files, '' for one from a hub (whose files never change under one name).

    It tells in a moment, without loading anything, that weights were replaced on the disk; the fingerprint of the
    weights themselves stays the judge.
    """
    from pathlib import Path

    from search.models.names import resolve

    place = resolve(name).open_clip_name
    if not place.startswith("local-dir:"):
        return ""
    files = sorted(file for file in Path(place.removeprefix("local-dir:")).glob("*") if file.is_file())
    return ";".join(f"{file.name}:{file.stat().st_size}:{file.stat().st_mtime_ns}" for file in files)
