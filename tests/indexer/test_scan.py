"""A scan tells folders in which nothing has changed at once, and finds the same as if it looked at each file."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer import scan as scanning
from indexer.rules import Rules, Sieve
from indexer.scan import Scan, scan
from search.catalog import changes
from search.catalog.connection import connect_to_write
from search.home import Home

NAMES = (b"a.jpg", b"b.JPG", b".hidden.png", b"no photo.txt", b"\xff.webp")
STATES = ("as known", "new", "gone", "longer", "touched", "failed", "failed and gone", "back", "failed for now")


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect_to_write(Home(tmp_path / "home"))) as connection:
        with connection:
            changes.add_library(connection, b"/library")
        yield connection


def put(connection: sqlite3.Connection, folder: bytes, name: bytes, state: str) -> None:
    """Make a file, and a row of it, as the state says."""
    path = os.path.join(folder, name)
    if "gone" not in state:
        Path(os.fsdecode(path)).write_bytes(b"123")
        os.utime(path, ns=(10**18, 10**18))
    if state == "new":
        return
    failure = "it is damaged" if "failed" in state else None
    times = {"touched": 1, "failed for now": scanning.FAILED_FOR_NOW}
    connection.execute(
        "INSERT INTO files (library_key, folder, name, size, mtime_ns, failure, missing_at)"
        " VALUES (1, ?, ?, ?, ?, ?, ?)",
        (
            folder,
            name,
            2 if state == "longer" else 3,
            times.get(state, 10**18),
            failure,
            "x" if state == "back" else None,
        ),
    )


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    states=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(STATES))
    | st.just(dict.fromkeys(NAMES[:2], "as known")),
    rules=st.sampled_from(
        [Rules(), Rules(hidden=True), Rules(min_bytes=3), Rules(min_bytes=4), Rules(exclude=("a*",))]
    ),
)
def test_a_folder_is_as_known_just_when_all_of_its_files_are(
    catalog: sqlite3.Connection, states: dict[bytes, str], rules: Rules
) -> None:
    folder = os.fsencode(tempfile.mkdtemp())
    told: list[bool] = []
    quick = scanning._is_as_known
    try:
        for name, state in states.items():
            put(catalog, folder, name, state)
        found: list[Scan] = []
        for is_as_known in (lambda *given: (told.append(quick(*given)), told[-1])[1], lambda *_: False):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(scanning, "_is_as_known", is_as_known)
                found.append(scan(catalog, folder, sieve=Sieve(rules, folder, lambda _: None), skip=b"/nowhere"))
        for one in found:
            for each in (one.to_read, one.gone, one.left_out, one.returned):
                each.sort(key=repr)
        assert found[0] == found[1]
        if (
            rules == Rules()
            and set(states.values()) == {"as known"}
            and set(states) <= {b"a.jpg", b"b.JPG", b"\xff.webp"}
        ):
            assert told == [True]  # it is what most folders are, and not looked at again
    finally:
        catalog.execute("DELETE FROM files")
        shutil.rmtree(folder)
