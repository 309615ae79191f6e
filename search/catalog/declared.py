"""Whether a catalog has the tables, the indexes and nothing else that its version has."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from search.catalog.connection import migrate


def strange_names(connection: sqlite3.Connection) -> list[str]:
    """What a catalog of this version lacks, or declares otherwise, and views, triggers and indexes that it has besides:
    they change what is read and written. Tables of somebody else's are left alone. In the order of the alphabet."""
    with closing(sqlite3.connect(":memory:")) as model:
        migrate(model)
        expected = {name: sql for name, (_, sql) in _declared(model).items()}
    found = _declared(connection)
    wrong = {name for name, sql in expected.items() if name not in found or found[name][1] != sql}
    foreign = {table for table, (kind, _) in found.items() if kind == "table" and table not in expected}
    for name, (kind, _) in found.items():
        if name not in expected and kind != "table" and (kind != "index" or _table(connection, name) not in foreign):
            wrong.add(name)
    return sorted(wrong)


def _declared(connection: sqlite3.Connection) -> dict[str, tuple[str, str]]:
    rows = connection.execute("SELECT name, type, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {
        str(name): (kind, " ".join(str(sql).split()))
        for name, kind, sql in rows
        if "sqlite_migrations" not in str(name) or kind in ("trigger", "view")
    }


def _table(connection: sqlite3.Connection, name: str) -> str:
    return str(connection.execute("SELECT tbl_name FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0])
