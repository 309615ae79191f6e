"""Pairs of photos of which a person said that they are not duplicates of each other."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from search.catalog import settings

Apart = Mapping[int, set[int]]
"""For each photo that has any: those that it is no duplicate of, by keys."""

_STATE = "dismissals"


def put(connection: sqlite3.Connection, photo_keys: Iterable[int]) -> int:
    """Remember of every pair of the photos that they are not duplicates; returns of how many that is new."""
    pairs = combinations(sorted(set(photo_keys)), 2)
    new = connection.executemany(
        "INSERT OR IGNORE INTO dismissals (photo_key, other_key) VALUES (?, ?)", pairs
    ).rowcount
    _grow(connection)
    return max(0, new)


def take_back(connection: sqlite3.Connection, photo_keys: Iterable[int]) -> int:
    """Forget what was said of pairs of the photos; returns of how many something was."""
    listed = json.dumps(list(photo_keys))
    before = connection.execute(
        "DELETE FROM dismissals WHERE photo_key IN (SELECT value FROM json_each(?))"
        " AND other_key IN (SELECT value FROM json_each(?))",
        (listed, listed),
    ).rowcount
    _grow(connection)
    return before


def state(connection: sqlite3.Connection) -> int:
    """A number that grows with every change to the pairs."""
    return int(settings.get(connection, _STATE) or 0)


def apart(connection: sqlite3.Connection, photo_keys: Sequence[int] | None = None) -> dict[int, set[int]]:
    """The pairs that were dismissed, among these photos or, by default, all."""
    among, values = "", []
    if photo_keys is not None:
        among = " WHERE photo_key IN (SELECT value FROM json_each(?)) AND other_key IN (SELECT value FROM json_each(?))"
        values = 2 * [json.dumps([int(key) for key in photo_keys])]
    found: dict[int, set[int]] = {}
    for one, other in connection.execute(f"SELECT photo_key, other_key FROM dismissals{among}", values):
        found.setdefault(one, set()).add(other)
        found.setdefault(other, set()).add(one)
    return found


def together(leader: int, others: Iterable[int], apart: Apart) -> list[int]:
    """Those of `others` that may stand in one group with `leader` and each other, first come, first served."""
    taken: list[int] = []
    barred = set(apart.get(leader, ()))
    for other in others:
        if other not in barred:
            taken.append(other)
            barred.update(apart.get(other, ()))
    return taken


def _grow(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE settings SET value = value + 1 WHERE name = ?", (_STATE,))
