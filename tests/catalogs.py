"""Catalogs written by hand: photos with folders, dates and tags, without a file behind them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence

from search.catalog import changes


def put(
    connection: sqlite3.Connection,
    path: str,
    *,
    taken: str | None = None,
    camera: str | None = None,
    form: str = "JPEG",
    size: tuple[int, int] = (4, 3),
    kind: str | None = None,
    tags: Sequence[str] = (),
    library: str = "/photos",
) -> int:
    """Put a photo into the catalog, at `path` below its library; returns its key."""
    number = connection.execute("SELECT count(*) FROM photos").fetchone()[0]
    photo = changes.NewPhoto(f"{number:032}", *size, form, 1, taken, taken or "2000", camera, None, None, None)
    key = changes.put_photo(connection, photo)
    root = os.fsencode(library)
    row = connection.execute("SELECT key FROM libraries WHERE path = ?", (root,)).fetchone()
    library_key = row[0] if row else changes.add_library(connection, root)
    folder, name = os.path.split(os.path.join(root, os.fsencode(path)))
    changes.put_file(connection, library_key=library_key, folder=folder, name=name, size=1, mtime_ns=1, photo_key=key)
    connection.execute("UPDATE photos SET kind = ? WHERE key = ?", (kind, key))
    connection.executemany("INSERT INTO tags VALUES (?, ?, 0.9)", [(key, tag) for tag in tags])
    return key
