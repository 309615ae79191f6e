"""A query's filters as one SQL condition on the catalog's photos, so that they hold before anything is ranked."""

from __future__ import annotations

import json
import os
import sqlite3

import numpy as np

from search.catalog import paths, words
from search.query import Filter, Query, date_range
from search.vectors.protocol import Keys

FORMATS = {"jpg": "JPEG", "heif": "HEIC", "tif": "TIFF"}
"""Formats by other names for them."""
_TAGGED = "photos.key IN (SELECT photo_key FROM tags WHERE tag IN (SELECT value FROM json_each(?)))"
_ORIENTATIONS = {"landscape": "width > height", "portrait": "width < height", "square": "width = height"}


def condition(query: Query) -> tuple[str, list[object]]:
    """An SQL condition over `photos`, with the values for its question marks."""
    parts = ["photos.orphaned_at IS NULL"]
    values: list[object] = []
    for one in query.filters:
        sql, needed = _one(one)
        parts.append(f"NOT coalesce({sql}, 0)" if one.negative else sql)
        values += needed
    for text in query.exact:
        sql, needed = _standing(text)
        parts.append(sql)
        values += needed
    for text in query.excluded:
        if expression := words.said(words.phrase(text)):
            parts.append(f"photos.key NOT IN (SELECT rowid FROM words WHERE words MATCH ?) AND NOT {_TAGGED}")
            values += [expression, json.dumps(words.name_forms(text))]
    return " AND ".join(parts), values


def allowed_keys(connection: sqlite3.Connection, query: Query) -> Keys | None:
    """Keys of the photos that pass the query's filters, int64[m]; None when it has none."""
    if not (query.filters or query.exact or query.excluded):
        return None
    sql, values = condition(query)
    return np.asarray(
        [row[0] for row in connection.execute(f"SELECT key FROM photos WHERE {sql}", values)], dtype=np.int64
    )


def _one(one: Filter) -> tuple[str, list[object]]:
    value = one.value
    if one.key == "after":
        # As people say it: after:2021 is from its first day on, before:2021 ends before it.
        return "substr(taken_at, 1, 10) >= ?", [date_range(value)[0]]
    if one.key == "before":
        return "substr(taken_at, 1, 10) < ?", [date_range(value)[0]]
    if one.key == "on":
        return "substr(taken_at, 1, 10) BETWEEN ? AND ?", [*date_range(value)]
    if one.key == "camera":
        return "camera LIKE ? ESCAPE '\\'", [_containing(value)]
    if one.key == "folder":
        if is_whole_path(value):
            lies, needed = "substr(CAST(folder AS TEXT) || ?, 1, length(?)) = ?", [value[-1], value, value]
        else:
            lies, needed = "CAST(folder AS TEXT) || ? LIKE ? ESCAPE '\\'", [os.sep, _containing(value)]
        return f"photos.key IN (SELECT photo_key FROM files WHERE {lies})", [*needed]
    if one.key == "type":
        return "format = ? COLLATE NOCASE", [FORMATS.get(value.lower(), value)]
    if one.key == "orientation":
        return _ORIENTATIONS[value.lower()], []
    if one.key == "is":
        return "kind = ? COLLATE NOCASE", [value]
    names = json.dumps(words.name_forms(value))
    return (
        f"({_TAGGED} OR photos.key IN (SELECT photo_key FROM tags WHERE tag IN"
        " (SELECT tag FROM tag_names WHERE name IN (SELECT value FROM json_each(?)))))",
        [names, names],
    )


def is_whole_path(folder: str) -> bool:
    """Whether `folder:` names a whole path: it asks for that folder and what lies below it, not for what begins so."""
    if paths.is_remote(folder.encode("utf-8", "replace")):
        return folder.endswith("/")
    return os.path.isabs(folder) and folder.endswith(os.sep)


def _standing(text: str) -> tuple[str, list[object]]:
    """Where `text` stands: as words anywhere, or as part of what is written in the picture or of a file's name."""
    found = (("words", words.said(words.phrase(text))), ("parts", words.part(text)))
    asked = [(table, expression) for table, expression in found if expression]
    sql = " OR ".join(f"photos.key IN (SELECT rowid FROM {table} WHERE {table} MATCH ?)" for table, _ in asked)
    return f"({sql or 'TRUE'})", [expression for _, expression in asked]


def _containing(value: str) -> str:
    return "%" + value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
