"""A catalog is changed behind Sightline's back, looked into, and repaired."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing

from indexer.verify.report import Verification
from indexer.verify.run import verify
from search.catalog.connection import connect_to_read
from search.home import Home


def change(home: Home, *statements: str, values: Sequence[object] = ()) -> None:
    """Change the catalog as damage does: heeding neither foreign keys nor checks."""
    with closing(sqlite3.connect(home.catalog_path)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            connection.execute(statement, values)
        connection.commit()


def ask(home: Home, sql: str) -> list[tuple[object, ...]]:
    """The rows of a question."""
    with closing(connect_to_read(home)) as connection:
        return connection.execute(sql).fetchall()


def kinds(found: Verification) -> set[str]:
    """What kinds of problems were found."""
    return {problem.kind for problem in found.problems}


def repaired(home: Home) -> Verification:
    """What a repair did, which leaves nothing wrong."""
    found = verify(home, repair=True)
    assert found.ok, [problem.what for problem in found.problems if not problem.mended]
    assert verify(home).problems == []
    return found
