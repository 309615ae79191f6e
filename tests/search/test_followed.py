"""What is held in memory is of the very state that a transaction sees, or nothing is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from catalogs import put

from search.catalog import changes
from search.catalog.connection import connect_to_read, connect_to_write, one_state
from search.column_filters import ColumnFilters
from search.columns import Columns
from search.followed import SETTLED_SECONDS, Followed
from search.home import Home
from search.vectors.protocol import Keys


@pytest.fixture
def writer(home: Home) -> Iterator[sqlite3.Connection]:
    with closing(connect_to_write(home)) as connection:
        with connection:
            put(connection, "1.jpg")
        yield connection


def following() -> tuple[Followed[list[int]], list[str]]:
    """The keys of all photos, brought up to date; and what was done for them."""
    done: list[str] = []

    def read(connection: sqlite3.Connection) -> list[int]:
        done.append("read")
        return [row[0] for row in connection.execute("SELECT key FROM photos ORDER BY key")]

    def update(state: list[int], connection: sqlite3.Connection, changed: Keys) -> list[int] | None:
        done.append(f"updated {changed.tolist()}")
        return None if len(state) > 2 else sorted({*state, *changed.tolist()})

    return Followed(read, update), done


def test_it_is_read_once_it_was_asked_for_a_while(writer: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("search.followed.time.monotonic", lambda: clock[0])
    followed, done = following()
    assert followed.at(writer) is None and not done
    clock[0] += SETTLED_SECONDS
    assert followed.at(writer, "never") is None and not done
    assert followed.at(writer) == [1] and followed.at(writer) == [1] and done == ["read"]
    other, done = following()
    assert other.at(writer, "now") == [1] and done == ["read"]


def test_after_a_commit_only_what_changed_is_read(home: Home, writer: sqlite3.Connection) -> None:
    followed, done = following()
    with closing(connect_to_read(home)) as reader:
        assert followed.at(reader, "now") == [1]
        with writer:
            put(writer, "2.jpg")
        assert followed.at(reader) == [1, 2] and done == ["read", "updated [2]"]
        with writer:
            put(writer, "3.jpg")
        assert followed.at(reader) == [1, 2, 3] and done[2:] == ["updated [3]"]
        with writer:  # now it says that reading anew is better
            put(writer, "4.jpg")
        assert followed.at(reader) == [1, 2, 3, 4] and done[3:] == ["updated [4]", "read"]


def test_a_transaction_that_began_earlier_gets_nothing_of_a_later_one(home: Home, writer: sqlite3.Connection) -> None:
    followed, _ = following()
    with closing(connect_to_read(home)) as early, closing(connect_to_read(home)) as late:
        assert followed.at(late, "now") == [1]
        with one_state(early):
            early.execute("SELECT count(*) FROM photos").fetchone()
            with writer:
                put(writer, "2.jpg")
            assert followed.at(late) == [1, 2]
            assert followed.at(early, "now") is None
        assert followed.at(early) == [1, 2]


def test_of_another_catalog_everything_is_read(home: Home, writer: sqlite3.Connection, tmp_path: Path) -> None:
    elsewhere = Home(tmp_path / "other")
    with closing(connect_to_write(elsewhere)) as connection, connection:
        for number in range(3):
            put(connection, f"{number}.jpg")
    followed, done = following()
    for place, keys in ((elsewhere, [1, 2, 3]), (home, [1]), (elsewhere, [1, 2, 3])):
        with closing(connect_to_read(place)) as reader:
            assert followed.at(reader, "now") == keys
    assert done == ["read"] * 3


def test_while_one_thread_reads_the_others_ask_the_catalog(writer: sqlite3.Connection) -> None:
    meanwhile: list[list[int] | None] = []

    def read(connection: sqlite3.Connection) -> list[int]:
        meanwhile.append(followed.at(connection, "now"))
        return [1]

    followed = Followed(read, lambda state, connection, changed: None)
    assert followed.at(writer, "now") == [1] and meanwhile == [None]


def test_a_reading_that_failed_is_tried_again(writer: sqlite3.Connection) -> None:
    tries: list[int] = []

    def read(connection: sqlite3.Connection) -> int:
        tries.append(1)
        if len(tries) == 1:
            raise sqlite3.OperationalError("busy")
        return 7

    followed = Followed(read, lambda state, connection, changed: None)
    with pytest.raises(sqlite3.OperationalError):
        followed.at(writer, "now")
    assert followed.at(writer, "now") == 7


def test_photos_that_go_leave_the_live_ones_at_once(home: Home, writer: sqlite3.Connection) -> None:
    filters = ColumnFilters()
    with closing(connect_to_read(home)) as reader:
        assert filters.live(reader) is None
        assert isinstance(filters.at(reader, "now"), Columns)
        with writer:
            put(writer, "2.jpg")
            writer.execute("DELETE FROM files WHERE photo_key = 1")
            changes.mark_orphans(writer, [1])
        live = filters.live(reader)
        assert live is not None and np.array_equal(live, [2])
