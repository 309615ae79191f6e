"""The models to choose from: which the index uses, which are on this machine, and what it would cost to change."""

from __future__ import annotations

import sqlite3
from functools import cache
from typing import Any

from search import vocabulary
from search.catalog import model_records, pace
from search.catalog.model_records import ModelRecord
from search.models.hub import is_cached
from search.models.names import PRESETS, Preset, resolve


def model_choices(connection: sqlite3.Connection | None) -> dict[str, Any]:
    """The contract of `sightline models --json`; `connection` is None where there is no catalog. Uses no network.

    Of each preset: `photos_to_embed`, the photos of this library that it has not embedded; `download_bytes`, about,
    in weights and tokenizer; and `seconds`, about, to embed those photos here, and the texts that tags and ranking need
    of a model that is new to this library. Null is what cannot be told.
    """
    active = model_records.active(connection) if connection is not None else None
    presets = []
    for preset in PRESETS.values():
        model = resolve(preset.name)
        installed = is_cached(model)
        photos = _unembedded(connection, preset.name) if connection is not None else None
        presets.append(
            {
                "name": preset.name,
                "open_clip_name": model.open_clip_name if model.folder else preset.open_clip_name,
                "purpose": preset.purpose,
                "installed": installed,
                "used": active is not None and active.name == preset.name,
                "photos_to_embed": photos,
                "download_bytes": 0 if installed else preset.download_bytes,
                "seconds": _seconds(connection, active, preset, photos),
            }
        )
    return {
        "index": {"model": active.name, "fingerprint": active.fingerprint} if active else None,
        "presets": presets,
    }


def _unembedded(connection: sqlite3.Connection, name: str) -> int:
    """The live photos without an embedding of the newest weights of this name."""
    (live,) = connection.execute("SELECT count(*) FROM photos WHERE orphaned_at IS NULL").fetchone()
    (embedded,) = connection.execute(
        "SELECT count(*) FROM embeddings JOIN photos ON photos.key = photo_key"
        " WHERE model_key = (SELECT max(key) FROM models WHERE name = ?) AND orphaned_at IS NULL",
        (name,),
    ).fetchone()
    return int(live - embedded)


def _seconds(
    connection: sqlite3.Connection | None, active: ModelRecord | None, preset: Preset, photos: int | None
) -> float | None:
    """What `photos` would take, told from a measured run of the active model and how the two compare on a CPU."""
    if connection is None or active is None or photos is None or active.name not in PRESETS:
        return None
    measured = pace.last(connection, active.key)
    if measured is None:
        return None
    column = ("fp32", "bf16").index(measured.precision)
    photo = PRESETS[active.name].photo_cost[column]
    seconds = photos * measured.with_model(preset.photo_cost[column] / photo)
    if connection.execute("SELECT 1 FROM models WHERE name = ?", (preset.name,)).fetchone() is None:
        seconds += _texts() * measured.in_model(preset.text_cost[column] / photo)
    return round(seconds, 1)


@cache
def _texts() -> int:
    """How many texts a model embeds once: the sentences and the wordings of concepts that photos are held against."""
    return len(vocabulary.sentences()) + sum(len(concept.wordings) for concept in vocabulary.shipped())
