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

    def get(self, name: str, precision: str, options: IndexOptions) -> Encoder:
        """The model of this name, in this precision, for the device of the options; loaded anew where its weights were
        replaced on the disk.

        Raises:
            ModelError: it cannot be loaded.
        """
        device = options.device
        if options.executor != "local":
            # Here it only embeds a few texts; where the photos are, there may be other devices.
            device, precision = "auto", "auto"
        wanted = (name, weights_stamp(name), device, precision)
        if self._encoder is None or self._of != wanted:
            from indexer.embed import streams_on_cpu
            from search.models.encoder import load_encoder

            self._encoder = None
            self._encoder = load_encoder(
                name,
                device=device,
                precision=precision,
                allow_download=options.download,
                convert=True,
                streams=streams_on_cpu(),
            )
            self._of = wanted
        return self._encoder

    def release(self) -> None:
        """Let go of it."""
        self._encoder, self._of = None, ()


@dataclass(frozen=True)
class ModelChoice:
    """A model's name and precision, and whether what the index already holds of it can be trusted without loading it.

    `settled` is true where the index's model has these and its weights' files are as they were. A `lasting` choice is
    what the home uses from this run on.
    """

    name: str
    precision: str
    settled: bool
    reason: str | None = None
    lasting: bool = True


def choose(connection: sqlite3.Connection, options: IndexOptions) -> ModelChoice:
    """The model to use. Raises ModelError where the name cannot be one."""
    from search.models.names import resolve

    name, precision = model_records.wanted(connection)
    name, precision = options.model or name or "auto", options.precision or precision
    reason = None
    if name == "auto":
        from search.models.hub import choose_auto

        chosen, reason = choose_auto(download=options.download)
        name = chosen.name
    else:
        name = resolve(name).name
    active = model_records.active(connection)
    settled = model_records.is_wanted(active, (name, precision)) and answers_as_it_did(connection)
    return ModelChoice(name, precision, settled, reason)


def answers_as_it_did(connection: sqlite3.Connection) -> bool:
    """Whether there is a model that answers, and its weights' files are those that the photos were embedded with."""
    active = model_records.active(connection)
    return active is not None and settings.get(connection, "weights_stamp") == weights_stamp(active.name)


def weights_stamp(name: str) -> str:
    """The version of open_clip, and size and date of a local model's files (those of a hub never change under one
    name).

    It tells in a moment, without loading anything, that weights were replaced on the disk, or that a model may be given
    other pixels; the fingerprints themselves stay the judge.
    """
    from importlib.metadata import version
    from pathlib import Path

    from search.models.names import resolve

    place = resolve(name).open_clip_name
    parts = [f"open_clip:{version('open_clip_torch')}"]
    if place.startswith("local-dir:"):
        files = sorted(file for file in Path(place.removeprefix("local-dir:")).glob("*") if file.is_file())
        parts += [f"{file.name}:{file.stat().st_size}:{file.stat().st_mtime_ns}" for file in files]
    return ";".join(parts)
