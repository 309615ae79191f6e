"""Whether a catalog has the tables, the indexes and nothing else that its version has."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import NamedTuple

from search.catalog import changelog
from search.catalog.connection import migrate


class Named(NamedTuple):
    """Something of a schema: its kind (`table`, `index`, `view` or `trigger`) and its name."""

    kind: str
    name: str


class Strange(NamedTuple):
    """What of a schema is not as Sightline makes it, each in the order of the alphabet.

    Attributes:
        wrong: names that are missing, or declared otherwise; nothing can be relied on then.
        foreign: views, triggers and indexes that there are besides, which change what is read and written. Without
            them the catalog is as it was. Tables of somebody else's are left alone, with their indexes.
    """

    wrong: list[str]
    foreign: list[Named]


def strange(connection: sqlite3.Connection) -> Strange:
    """What is strange about the schema of a catalog of this version."""
    expected, found = _expected(), _declared(connection)
    wrong = {one.name for one, (_, sql) in expected.items() if one not in found or found[one][1] != sql}
    tables = {one.name for one in expected if one.kind == "table"}
    foreign = [
        one
        for one, (table, _) in found.items()
        if one not in expected and one.kind != "table" and (one.kind != "index" or table in tables)
    ]
    return Strange(sorted(wrong), sorted(foreign, key=lambda one: (one.name, one.kind)))


def drop(connection: sqlite3.Connection, foreign: list[Named]) -> None:
    """Drop views, triggers and indexes. Raises `sqlite3.Error`."""
    # Triggers first: dropping anything else should set none off.
    for kind, name in sorted(foreign, key=lambda one: one.kind != "trigger"):
        quoted = name.replace('"', '""')
        connection.execute(f'DROP {kind.upper()} IF EXISTS main."{quoted}"')


def drop_made_by_nobody(connection: sqlite3.Connection) -> list[Named]:
    """Drop all views, of which no version of the catalog has any, and all triggers but those that this version makes;
    returns them. Raises `sqlite3.Error`."""
    expected = _expected()
    found = [
        one
        for one, what in _declared(connection).items()
        if one.kind == "view" or (one.kind == "trigger" and expected.get(one) != what)
    ]
    drop(connection, found)
    return found


def put_triggers(connection: sqlite3.Connection) -> None:
    """Make those of this version's triggers that are missing: what was written without them has no entries in the
    changelog. Raises `sqlite3.Error`."""
    found = _declared(connection)
    missing = [sql for one, (_, sql) in _expected().items() if one.kind == "trigger" and one not in found]
    for sql in missing:
        connection.execute(sql)
    if missing:
        changelog.start_anew(connection)


def _expected() -> dict[Named, tuple[str, str]]:
    """What the schema of a catalog of this version declares."""
    with closing(sqlite3.connect(":memory:")) as model:
        migrate(model)
        return _declared(model)


def _declared(connection: sqlite3.Connection) -> dict[Named, tuple[str, str]]:
    """What a schema declares: the table that it is of, and its SQL."""
    rows = connection.execute("SELECT name, type, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {
        Named(kind, str(name)): (str(table), " ".join(str(sql).split()))
        for name, kind, table, sql in rows
        if "sqlite_migrations" not in str(name) or kind in ("trigger", "view")
    }
