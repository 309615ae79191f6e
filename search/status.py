"""What an index holds, counted."""

from __future__ import annotations

import sqlite3
from typing import Any

from search.catalog import descriptions, jobs, model_records, paths, settings
from search.catalog.descriptions import CAPTIONS, TAGS, TEXT
from search.home import Home
from search.models.names import STARTER
from search.vectors import generations
from search.vectors.generations import Generation


def status(home: Home, connection: sqlite3.Connection) -> dict[str, Any]:
    """The contract of `sightline status --json`, but for the version."""
    model = model_records.active(connection)
    key = model.key if model else -1
    generation = generations.newest(connection, key)
    return {
        "home": str(home.path),
        "photos": _one(connection, "SELECT count(*) FROM photos WHERE orphaned_at IS NULL"),
        **contents(connection),
        "model": model.name if model else None,
        "fingerprint": model.fingerprint if model else None,
        "dimensions": model.dimensions if model else None,
        "generation": generation.key if generation else None,
        "vectors": _vectors(home, generation) if generation else None,
        "revision": settings.revision(connection),
        "embedded": _one(
            connection,
            "SELECT count(*) FROM embeddings JOIN photos ON photos.key = photo_key"
            " WHERE model_key = ? AND orphaned_at IS NULL",
            key,
        ),
        "jobs": jobs.recent(home, connection),
    }


def contents(connection: sqlite3.Connection) -> dict[str, Any]:
    """That part of it which does not depend on models and runs."""
    libraries = connection.execute(
        "SELECT path, indexed_at, offline, count(DISTINCT photo_key), count(photo_key), count(failure),"
        " count(missing_at) FROM libraries LEFT JOIN files ON library_key = libraries.key"
        " GROUP BY libraries.key ORDER BY libraries.key"
    )
    return {
        "files": _one(connection, "SELECT count(*) FROM files WHERE photo_key IS NOT NULL"),
        "failures": _one(connection, "SELECT count(*) FROM files WHERE failure IS NOT NULL"),
        "libraries": [
            {
                "path": paths.display(path),
                "photos": photos,
                "files": files,
                "failures": failed,
                "indexed_at": indexed,
                "missing": files if offline is not None else missing,
                "offline": offline,
            }
            for path, indexed, offline, photos, files, failed, missing in libraries
        ],
        "captions": settings.get(connection, CAPTIONS) or STARTER,
        "ocr": settings.get(connection, TEXT) == "on",
        "described": {stage: descriptions.progress(connection, stage) for stage in (CAPTIONS, TAGS, TEXT)},
    }


def _one(connection: sqlite3.Connection, sql: str, *values: object) -> int:
    return int(connection.execute(sql, values).fetchone()[0])


def _vectors(home: Home, generation: Generation) -> dict[str, Any]:
    """How the newest generation is searched."""
    tuning = generations.tuning(home, generation)
    return {
        "photos": generation.photos,
        "exact": generations.is_exact(generation),
        "compared": tuning.visited if tuning else generation.photos if generations.is_exact(generation) else 0,
        "recall": tuning.recall if tuning else None,
    }
