"""What the rows of a sound catalog are like. SQLite keeps no checksums of what it stores, so a byte that has changed
shows only where what it makes of a value cannot be."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from search.answer import MODES, SORTS
from search.catalog.connection import open_reader
from search.catalog.damage import UNREADABLE, damaged, is_damage
from search.errors import DamagedError
from search.home import Home
from search.query import KINDS

_TYPES = {"INTEGER": ("integer",), "REAL": ("real", "integer"), "TEXT": ("text",), "BLOB": ("blob",)}
# As the clock and cameras write it: to the second, with an offset or without.
_MOMENT = (
    "({c} GLOB '[0-9][0-9][0-9][0-9]-[0-1][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]*'"
    " AND julianday({c}) IS NOT NULL)"
)
_FINITE = "abs({c}) < 1e300"
_RULES = {
    "libraries": {"added_at": _MOMENT, "indexed_at": _MOMENT, "path": "length({c}) > 0"},
    "photos": {
        "id": "length({c}) = 32 AND {c} NOT GLOB '*[^0-9a-f]*'",
        "width": "{c} > 0 AND {c} < 1 << 31",
        "height": "{c} > 0 AND {c} < 1 << 31",
        "format": "{c} GLOB '[A-Z]*' AND {c} NOT GLOB '*[^A-Z0-9]*'",
        "bytes": "{c} > 0",
        "taken_at": _MOMENT,
        "sort_at": f"{_MOMENT} AND {{c}} = coalesce(substr(taken_at, 1, 19), {{c}})",
        "latitude": "{c} BETWEEN -90 AND 90",
        "longitude": "{c} BETWEEN -180 AND 180",
        "kind": f"{{c}} IN {KINDS}",
        "flatness": "{c} BETWEEN 0 AND 1",
        "preview": "length({c}) = 36",
        "perceptual_hash": "{c} >= 0",
        "added_at": _MOMENT,
        "orphaned_at": _MOMENT,
    },
    "files": {
        "folder": "length({c}) > 0 AND instr({c}, x'00') = 0",
        "name": "length({c}) > 0 AND instr({c}, x'00') = 0 AND instr({c}, x'2F') = 0",
        "size": "{c} >= 0",
        "mtime_ns": "{c} IN (-1, -2) OR ({c} >= 0 AND (photo_key IS NULL) <> (failure IS NULL))",
        "missing_at": _MOMENT,
    },
    "dismissals": {"photo_key": "{c} < other_key"},
    "captions": {"author": "{c} <> ''", "written_at": _MOMENT},
    "tags": {"tag": "{c} <> ''", "score": "{c} BETWEEN 0 AND 1"},
    "texts": {"lines": "json_kind(CAST({c} AS BLOB)) = 'list'"},
    "models": {"dimensions": "{c} BETWEEN 1 AND 65536", "logit_scale": f"{_FINITE} AND {{c}} > 0", "added_at": _MOMENT},
    "generations": {
        "folder": "{c} GLOB 'generation-[0-9]*' AND {c} NOT GLOB '*/*'",
        "photos": "{c} > 0",
        "through": "{c} >= photos",
        "checksums": "json_kind(CAST({c} AS BLOB)) = 'dict'",
        "published_at": _MOMENT,
    },
    "jobs": {
        "state": "{c} IN ('running', 'done', 'stopped', 'failed', 'died')",
        "counts": "json_kind(CAST({c} AS BLOB)) = 'dict'",
        "started_at": _MOMENT,
        "ended_at": _MOMENT,
    },
    "descriptions": {
        "stage": "{c} IN ('captions', 'tags', 'text')",
        "author": "{c} <> ''",
        "written_at": _MOMENT,
    },
    "levels": {"level": "{c} BETWEEN -1.01 AND 1.01"},
    "backgrounds": {
        "photos": "{c} > 0",
        "maxima": "length({c}) % 4 = 0 AND length({c}) > 0",
        "spread": "{c} BETWEEN 0 AND 4",
    },
    "calibrations": {"photos": "{c} > 0", "usual": "length({c}) % 4 = 0 AND length({c}) > 0"},
    "searches": {
        "mode": f"{{c}} IN {MODES}",
        "sort": f"{{c}} IN {SORTS}",
        "include_all": "{c} IN (0, 1)",
        "collapse": "{c} IN (0, 1)",
        "saved_at": _MOMENT,
    },
    "settings": {
        "value": "CASE WHEN name IN ('revision', 'dismissals') THEN {c} NOT GLOB '*[^0-9]*' AND {c} <> ''"
        " WHEN name = 'pace' THEN json_kind(CAST({c} AS BLOB)) = 'dict'"
        " WHEN name = 'text' THEN {c} IN ('on', 'off') ELSE 1 END"
    },
}
"""For tables and columns: what holds of a value, `{c}`, that is not NULL."""
_TABLES = frozenset({*_RULES, "embeddings", "tag_names", "changelog"})


@dataclass(frozen=True)
class Unsound:
    """Values of one column that cannot be: in how many rows, and `where` in SQL these are."""

    table: str
    column: str
    rows: int
    where: str


def prepare(connection: sqlite3.Connection) -> None:
    """Give the connection the functions that `unsound` needs."""
    connection.create_function("is_utf8", 1, _is_utf8, deterministic=True)
    connection.create_function("json_kind", 1, _json_kind, deterministic=True)


def unsound(connection: sqlite3.Connection, tables: frozenset[str] | None = None) -> Iterator[Unsound]:
    """What cannot be, column by column, in all tables or some; the connection was prepared."""
    for table in sorted(tables if tables is not None else own_tables(connection)):
        conditions = {
            column: f"NOT coalesce({condition}, 0)" for column, condition in _conditions(connection, table).items()
        }
        if not conditions:
            continue
        counts = connection.execute(
            f"SELECT {', '.join(f'total({condition})' for condition in conditions.values())} FROM {_quoted(table)}"
        ).fetchone()
        for (column, condition), count in zip(conditions.items(), counts, strict=True):
            if count:
                yield Unsound(table, column, int(count), condition)


def explained(home: Home, error: Exception) -> DamagedError | None:
    """The error that `error` is if the catalog of `home` is damaged; None where it is not, so that something else is
    wrong. What a damaged value leads to may be any error of the program that came upon it."""
    if isinstance(error, sqlite3.Error):
        return damaged(home, error) if is_damage(error) else None
    try:
        with closing(open_reader(home.catalog_path)) as connection:
            prepare(connection)
            first = next(unsound(connection), None)
    except UNREADABLE as other:
        return damaged(home, other) if is_damage(other) else None
    return None if first is None else damaged(home, f"{first.table}.{first.column} has a value that cannot be")


def own_tables(connection: sqlite3.Connection) -> frozenset[str]:
    """The tables of the catalog, without SQLite's own, those that full-text indexes keep, and any that another program
    has put there."""
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return frozenset(row[0] for row in rows) & _TABLES


def _conditions(connection: sqlite3.Connection, table: str) -> dict[str, str]:
    """For each column of which something is known: what holds of it in a sound row."""
    found = {}
    for _, column, kind, needed, _, key in connection.execute(f"PRAGMA table_info({_quoted(table)})").fetchall():
        types = _TYPES.get(kind.upper())
        if types is None or (key and kind.upper() == "INTEGER" and not needed):
            continue  # a row's number is what it is
        quoted = _quoted(column)
        holds = [f"typeof({quoted}) IN ({', '.join(map(repr, types))})"]
        if types == ("text",):
            # Most text is plain, and SQLite sees that faster than Python reads it.
            content = f"CAST({quoted} AS BLOB)"
            plain = f"instr({content}, x'00') = 0 AND {quoted} NOT GLOB '*[^' || char(1) || '-~]*'"
            holds.append(f"({plain} OR is_utf8({content}))")
        if rule := _RULES.get(table, {}).get(column):
            holds.append(f"({rule.format(c=quoted)})")
        sound = " AND ".join(holds)
        found[column] = sound if needed else f"({quoted} IS NULL OR {sound})"
    return found


def _quoted(name: str) -> str:
    """A name as SQL takes it, whatever it is."""
    return '"' + name.replace('"', '""') + '"'


def _is_utf8(value: bytes | None) -> bool:
    try:
        (value or b"").decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _json_kind(value: bytes | None) -> str | None:
    """What a text in JSON is in Python; None where it is none."""
    try:
        return type(json.loads((value or b"").decode("utf-8"))).__name__
    except ValueError:
        return None
