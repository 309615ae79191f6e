"""What a check finds: problems, each with what mends it, and the state that it looks at."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from typing import Any

from indexer.progress import Progress
from search.catalog import jobs, paths
from search.catalog.connection import connect_to_read
from search.errors import CatalogError
from search.home import Home

_SHOWN = 3


@dataclass
class Finding:
    """A problem.

    Attributes:
        kind: one word or two for programs.
        what: one sentence for people.
        mend: what mends it; None where nothing can.
        structural: whether the catalog itself cannot be relied on, so that nothing else can be checked.
        about: what tells it from others of its kind. Its sentence does not: the number in it changes where only some
            of what it speaks of was mended.
    """

    kind: str
    what: str
    mend: Callable[[Mending], None] | None = None
    structural: bool = False
    mended: bool = False
    about: str = ""

    @property
    def topic(self) -> tuple[str, str]:
        """What is the same of two findings of the same problem."""
        return self.kind, self.about

    def to_json(self) -> dict[str, Any]:
        """As `sightline verify --json` lists it."""
        mendable = self.mend is not None or self.structural or self.mended
        return {"kind": self.kind, "what": self.what, "mendable": mendable, "mended": self.mended}


@dataclass
class View:
    """What is looked at: a home and its catalog, and what was counted on the way.

    Attributes:
        connection: reads one state, or writes, where what is found is to be mended.
        checked: how many of what were looked at.
        notes: sentences on what is no damage.
        read_photos: whether the photos' own files are read.
        doubtful: photos, by keys, that are read in any case.
    """

    home: Home
    connection: sqlite3.Connection
    progress: Progress
    read_photos: bool = False
    checked: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    doubtful: list[int] = field(default_factory=list)

    def one(self, sql: str, *values: object) -> int:
        """A number that the catalog answers with."""
        return int(self.connection.execute(sql, values).fetchone()[0] or 0)

    def is_busy(self) -> bool:
        """Whether another run is at work on the home at this moment, so that what it writes may be half there."""
        try:
            with closing(connect_to_read(self.home)) as connection:
                job = jobs.running(self.home, connection)
        except (CatalogError, sqlite3.Error):
            return False
        return job is not None and (job["kind"], job["pid"]) != ("repair", os.getpid())

    def names(self, photo_keys: Iterable[int]) -> str:
        """Some of the photos by their paths, for a sentence."""
        keys = list(photo_keys)
        found = []
        for key in keys[:_SHOWN]:
            row = self.connection.execute(
                "SELECT folder, name FROM files WHERE photo_key = ? ORDER BY key LIMIT 1", (key,)
            ).fetchone()
            found.append(
                paths.display(paths.join(*row))
                if row and all(isinstance(one, bytes) for one in row)
                else f"number {key}"
            )
        return listed(found, len(keys))


@dataclass
class Mending:
    """What mending needs: the home, the catalog to write to, and a transaction around some changes.

    Attributes:
        notes: sentences on what a person should know of what was done.
    """

    home: Home
    connection: sqlite3.Connection
    progress: Progress
    transaction: Callable[[], AbstractContextManager[Any]]
    notes: list[str] = field(default_factory=list)


def listed(names: list[str], total: int) -> str:
    """Some names, and how many there are besides.

    >>> listed(["a", "b"], 5)
    'a, b and 3 more'
    """
    more = total - len(names[:_SHOWN])
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def are(count: int, one: str = "is", many: str = "are") -> str:
    """The verb, or another word, that goes with a count."""
    return one if count == 1 else many


def several(count: int, one: str, many: str = "") -> str:
    """A count with its noun.

    >>> several(1, "photo"), several(2, "photo")
    ('1 photo', '2 photos')
    """
    return f"{count} {one if count == 1 else many or one + 's'}"
