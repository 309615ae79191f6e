"""What the rows of each table look like, by which a page is known whose place in its tree is lost."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from indexer.salvage.trees import Row, Value, belongs

_TYPES: dict[str, tuple[type, ...]] = {"INTEGER": (int,), "TEXT": (str,), "BLOB": (bytes,), "REAL": (float,)}
# FTS5 declares no types for what it keeps its indexes in.
_OF_INDEXES = {
    "data": ("INTEGER", "BLOB"),
    "idx": ("INTEGER", "BLOB", "INTEGER"),
    "docsize": ("INTEGER", "BLOB"),
    "config": ("TEXT", "INTEGER"),
    "sequence": ("TEXT", "INTEGER"),
}
_SETTINGS = re.compile(
    "active_model|captions|captions_author|concepts|dismissals|grace|keep_previous|milvus_id|model|pace|precision"
    "|recall|revision|rules|tag_names|tags_author|text|text_author|vectors|weights_stamp|words_form|words_state"
)
# What tells rows from others of the same types.
_TELLS: dict[str, Callable[[Sequence[Value]], bool]] = {
    "settings": lambda values: _SETTINGS.fullmatch(str(values[0])) is not None,
    "tag_names": lambda values: _SETTINGS.fullmatch(str(values[0])) is None,
    "texts": lambda values: len(values) < 3 or str(values[2]).startswith("["),
}


@dataclass(frozen=True)
class Column:
    """A column as it is declared: `needed` if it is never NULL, `late` if a row that is older than it lacks it."""

    name: str
    type: str
    needed: bool
    late: bool = False


@dataclass(frozen=True)
class Shape:
    """The rows of a table or an index, in the order in which they are stored.

    Attributes:
        numbered: whether the tree has numbers: a table's with rowid.
        alias: the place of the column that is the number, or None.
        is_table: whether it is a table of the catalog's own, to be saved.
        root: the page where a new catalog has it.
    """

    name: str
    columns: tuple[Column, ...]
    numbered: bool
    alias: int | None
    is_table: bool
    root: int

    def fits(self, row: Row) -> bool:
        """Whether a row can be one of these."""
        values = row.values
        if len(values) > len(self.columns) or (row.number is None) == self.numbered:
            return False
        if not all(self.numbered and column.late for column in self.columns[len(values) :]):
            return False
        for place, (value, column) in enumerate(zip(values, self.columns, strict=False)):
            if place == self.alias:
                if value is not None:
                    return False
            elif value is None:
                if column.needed:
                    return False
            elif column.type in _TYPES and not isinstance(value, _TYPES[column.type]):
                return False
        tells = _TELLS.get(self.name)
        return tells is None or tells(values)

    def values(self, row: Row) -> dict[str, Value]:
        """The row by the names of its columns; what must be there and is not is empty, to be mended later."""
        found: dict[str, Value] = {}
        empty: dict[str, Value] = {"INTEGER": 0, "REAL": 0.0, "BLOB": b""}
        for place, (value, column) in enumerate(zip(row.values, self.columns, strict=False)):
            missing = value is None and column.needed
            found[column.name] = row.number if place == self.alias else empty.get(column.type, "") if missing else value
        return found


def shapes(connection: sqlite3.Connection) -> list[Shape]:
    """The shapes of all tables and indexes of a catalog."""
    rows = connection.execute(
        "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_master WHERE rootpage > 0"
    ).fetchall()
    virtual = _virtual(connection)
    return [
        _table(connection, name, root, sql or "", virtual) if kind == "table" else _index(connection, name, table, root)
        for kind, name, table, root, sql in rows
    ]


def only_fitting(rows: Sequence[Row], among: Sequence[Shape]) -> Shape | None:
    """The one shape that the rows of a page fit, or None where there are several or none."""
    fitting = [shape for shape in among if belongs(rows, shape.fits)]
    if len(fitting) > 1:  # those that say more of their rows are believed
        fitting = [shape for shape in fitting if shape.name in _TELLS]
    return fitting[0] if len(fitting) == 1 else None


def _table(connection: sqlite3.Connection, name: str, root: int, sql: str, virtual: set[str]) -> Shape:
    numbered = re.search(r"WITHOUT\s+ROWID", sql, re.IGNORECASE) is None
    declared = connection.execute(f'PRAGMA table_info("{name}")').fetchall()
    columns = [
        Column(column, kind.upper(), bool(needed or (key and not numbered)), not needed or default is not None)
        for _, column, kind, needed, default, key in declared
    ]
    keys: list[int] = [row[5] for row in declared]
    whole = [place for place, key in enumerate(keys) if key and columns[place].type == "INTEGER"]
    alias = whole[0] if numbered and len(whole) == sum(map(bool, keys)) == 1 else None
    order = list(range(len(columns)))
    if not numbered:
        order.sort(key=lambda place: (not keys[place], keys[place] or place))
    owner, _, part = name.rpartition("_")
    shadow = owner in virtual or owner == "sqlite"
    if shadow:
        types: Any = _OF_INDEXES.get(part) or ("INTEGER", *["TEXT"] * (len(columns) - 1))
        columns = [Column(column.name, kind, True) for column, kind in zip(columns, types, strict=True)]
    of_catalog = not shadow and not name.startswith(("sqlite_", "_sqlite_"))
    return Shape(name, tuple(columns[place] for place in order), numbered, alias, of_catalog, root)


def _index(connection: sqlite3.Connection, name: str, table: str, root: int) -> Shape:
    kinds = {row[1]: (row[2].upper(), bool(row[3])) for row in connection.execute(f'PRAGMA table_info("{table}")')}
    columns = tuple(
        Column(column or "rowid", *kinds.get(column, ("INTEGER", True)))
        for _, _, column, *_ in connection.execute(f'PRAGMA index_xinfo("{name}")')
    )
    return Shape(name, columns, False, None, False, root)


def _virtual(connection: sqlite3.Connection) -> set[str]:
    rows = connection.execute("SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE VIRTUAL TABLE%'")
    return {row[0] for row in rows}
