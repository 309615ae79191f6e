"""A query's filters as one SQL condition on the catalog's photos, so that they hold before anything is ranked."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from search.catalog import paths, words
from search.postings import numbers
from search.query import Filter, Query, date_range
from search.vectors.protocol import Keys

FORMATS = {"jpg": "JPEG", "heif": "HEIC", "tif": "TIFF"}
"""Formats by other names for them."""
_ORIENTATIONS = {"landscape": "width > height", "portrait": "width < height", "square": "width = height"}


class Select(NamedTuple):
    """SQL that gives photo keys, some perhaps several times, with the values for its question marks."""

    column: str
    source: str
    values: tuple[object, ...]

    def keys(self, connection: sqlite3.Connection) -> Keys:
        """What it gives: int64[n]."""
        # A damaged catalog may have something else for a key, which is nobody's.
        whole = f"FILTER (WHERE typeof({self.column}) = 'integer')"
        sql = f"SELECT group_concat({self.column}) {whole} FROM {self.source}"
        return numbers(connection.execute(sql, self.values).fetchone()[0])


def condition(query: Query) -> tuple[str, list[object]]:
    """An SQL condition over `photos`, with the values for its question marks."""
    parts = ["photos.orphaned_at IS NULL"]
    values: list[object] = []
    for one in query.filters:
        sql, needed = _one(one)
        parts.append(f"NOT coalesce({sql}, 0)" if one.negative else sql)
        values += needed
    for text in query.exact:
        sql, needed = _in_any(standing(text))
        parts.append(sql or "TRUE")
        values += needed
    for text in query.excluded:
        sql, needed = _in_any(unwanted(text))
        parts.append(f"NOT {sql or 'FALSE'}")
        values += needed
    return " AND ".join(parts), values


def has_conditions(query: Query) -> bool:
    """Whether a photo must be more than there to answer it."""
    return bool(query.filters or query.exact or query.excluded)


def allowed_keys(connection: sqlite3.Connection, query: Query) -> Keys | None:
    """Keys of the photos that pass the query's filters, int64[m]; None when it has none."""
    if not has_conditions(query):
        return None
    sql, values = condition(query)
    return Select("key", f"photos WHERE {sql}", tuple(values)).keys(connection)


def of_photo(one: Filter) -> tuple[str, list[object]] | None:
    """The condition of a filter, negative or not, on the photo's own columns; None where it is on other tables."""
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
    if one.key == "type":
        return "format = ? COLLATE NOCASE", [FORMATS.get(value.lower(), value)]
    if one.key == "orientation":
        return _ORIENTATIONS[value.lower()], []
    if one.key == "is":
        return "kind = ? COLLATE NOCASE", [value]
    return None


def of_folder(value: str) -> tuple[str, list[object]]:
    """The condition of a filter `folder:` on a file's folder."""
    if is_whole_path(value):
        return "substr(CAST(folder AS TEXT) || ?, 1, length(?)) = ?", [value[-1], value, value]
    return "CAST(folder AS TEXT) || ? LIKE ? ESCAPE '\\'", [os.sep, _containing(value)]


def tagged(value: str) -> list[Select]:
    """The photos that a filter `tag:` finds."""
    names = json.dumps(words.name_forms(value))
    meant = "SELECT tag FROM tag_names WHERE name IN (SELECT value FROM json_each(?))"
    return [_with_tag(names), Select("photo_key", f"tags WHERE tag IN ({meant})", (names,))]


def standing(text: str) -> list[Select]:
    """Where `text` stands: as words anywhere, or as part of what is written in the picture or of a file's name."""
    found = (("words", words.said(words.phrase(text))), ("parts", words.part(text)))
    return [_matching(table, expression) for table, expression in found if expression]


def unwanted(text: str) -> list[Select]:
    """The photos that `-text` leaves out: those in whose words it stands, and those with such a tag."""
    expression = words.said(words.phrase(text))
    return [_matching("words", expression), _with_tag(json.dumps(words.name_forms(text)))] if expression else []


def is_whole_path(folder: str) -> bool:
    """Whether `folder:` names a whole path: it asks for that folder and what lies below it, not for what begins so."""
    if paths.is_remote(folder.encode("utf-8", "replace")):
        return folder.endswith("/")
    return os.path.isabs(folder) and folder.endswith(os.sep)


def _one(one: Filter) -> tuple[str, list[object]]:
    found = of_photo(one)
    if found is not None:
        return found
    if one.key == "folder":
        lies, values = of_folder(one.value)
        return f"photos.key IN (SELECT photo_key FROM files WHERE {lies})", values
    return _in_any(tagged(one.value))


def _in_any(selects: Sequence[Select]) -> tuple[str, list[object]]:
    sql = " OR ".join(f"photos.key IN (SELECT {one.column} FROM {one.source})" for one in selects)
    return f"({sql})" if sql else "", [value for one in selects for value in one.values]


def _with_tag(names: str) -> Select:
    return Select("photo_key", "tags WHERE tag IN (SELECT value FROM json_each(?))", (names,))


def _matching(table: str, expression: str) -> Select:
    return Select("rowid", f"{table} WHERE {table} MATCH ?", (expression,))


def _containing(value: str) -> str:
    return "%" + value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
