"""Which model a run embeds with: what the user asked for, else what the home remembers, else `auto`."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from search.catalog import model_records, settings


@dataclass(frozen=True)
class ModelChoice:
    """A model's name, and whether what the index already holds of it can be trusted without loading it.

    `settled` is true where the index's model has this name and its weights' files are as they were.
    """

    name: str
    settled: bool
    reason: str | None = None


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
