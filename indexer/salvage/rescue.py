"""A new catalog of all that can be read of a damaged one."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from indexer.progress import Progress
from indexer.salvage.pages import Pages
from indexer.salvage.shapes import Shape, only_fitting, shapes
from indexer.salvage.trees import Row, Trees, Value
from indexer.salvage.witnesses import COUNTED, HEARD, UNKNOWN, Witnesses
from search.catalog import changes, settings, words
from search.catalog.connection import migrate
from search.catalog.schema import VERSION, migrations

PRECIOUS = ("settings", "libraries", "searches", "dismissals", "captions", "photos", "models")
"""What nobody can make again, and what it hangs on: read first."""
_OF_ITS_OWN = "changelog"
"""What the new catalog has of its own, whatever stood in the old one."""
_CHUNK = 2000  # rows


@dataclass
class Rescued:
    """What was saved.

    Attributes:
        saved: of each table of the catalog, how many rows.
        lost: of those of which some are known to be lost, how many at least.
        unread: those of which a page could not be read, and nothing tells how many rows stood there.
        doubtful: photos, by keys, of which two places in the old catalog say different things.
    """

    saved: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    doubtful: list[int] = field(default_factory=list)


def rescue(catalog: Path, target: Path, progress: Progress, *, with_log: bool = True) -> Rescued | None:
    """Make a catalog of this version in the file `target`, in rollback mode, of the rows of `catalog`, which is only
    read; full-text indexes are left empty. Without its log where that is another catalog's. None where not one photo,
    file or library could be read.

    Raises:
        OSError, sqlite3.Error: the old file cannot be opened, or the new one not written.
    """
    with Pages(catalog, with_log=with_log) as pages, closing(sqlite3.connect(target)) as new:
        new.execute("PRAGMA synchronous = OFF")  # it is flushed as a whole, and nobody knows of it before
        return _Rescue(pages, new, progress).run()


class _Rescue:
    """The state of one rescue."""

    def __init__(self, pages: Pages, new: sqlite3.Connection, progress: Progress) -> None:
        self._trees = Trees(pages)
        self._pages = pages
        self._new = new
        self._progress = progress
        self._found = Rescued()
        self._broken = set[str]()  # tables and indexes of which a page could not be read

    def run(self) -> Rescued | None:
        roots, without_schema = self._schema()
        self._make(self._version(roots))
        every = shapes(self._new)
        tables = sorted((shape for shape in every if shape.is_table and shape.name != _OF_ITS_OWN), key=_order)
        witnesses = Witnesses(self._new)
        self._progress.stage("salvage", self._pages.count)
        in_order = (*tables, *(shape for shape in every if shape not in tables))
        for shape in in_order:
            if root := roots.get(shape.name):
                self._take_tree(shape, root, witnesses)
        for shape in in_order:
            if shape.name not in roots:
                # Where a new catalog has it, an old one may have another, which its own list would say.
                known = shape.root in roots.values() or shape.root in self._trees.seen
                self._take_tree(shape, shape.root if without_schema and not known else 0, witnesses)
        self._take_strays(every, witnesses)
        self._found.unread = [shape.name for shape in tables if self._is_unread(shape.name)]
        if not any(self._count(name) for name in ("libraries", "photos", "files")):
            return None
        before = {shape.name: self._count(shape.name) for shape in tables}
        self._found.doubtful, missing = witnesses.testify()
        self._drop_what_hangs_on_nothing()
        migrate(self._new)
        self._write_words()
        for shape in tables:
            count = self._count(shape.name)
            self._found.saved[shape.name] = count
            if lost := missing.get(shape.name, 0) + max(0, before[shape.name] - count):
                self._found.lost[shape.name] = lost
        return self._found

    def _take_tree(self, shape: Shape, root: int, witnesses: Witnesses) -> None:
        """Take what stands in the tree of a table, or of an index that is heard; 0 where its first page is unknown."""
        if not (shape.is_table or shape.name in HEARD) or shape.name == _OF_ITS_OWN:
            self._trees.claim(root, numbered=shape.numbered)
            return
        broken = self._trees.broken_pages
        if root:
            self._take(shape, self._trees.rows(root, numbered=shape.numbered, fits=shape.fits), witnesses)
        if not root or self._trees.broken_pages > broken:
            self._broken.add(shape.name)

    def _is_unread(self, table: str) -> bool:
        """Whether a page of a table could not be read, and no index tells what stood there."""
        return table in self._broken and (table not in COUNTED or bool(self._broken & COUNTED[table]))

    def _schema(self) -> tuple[dict[str, int], bool]:
        """The first page of each table and index, by name; and whether that of the list itself is broken."""
        rows = list(self._trees.rows(1, numbered=True, fits=_is_of_schema))
        whole = not self._trees.broken_pages and not self._trees.broken_rows and bool(rows)
        if not whole:
            for number in self._pages:
                if number not in self._trees.seen and (page := self._pages[number]) and page[0] == 13:
                    found = self._trees.leaf(number, numbered=True)
                    if found and all(_is_of_schema(row) for row in found):
                        self._trees.take(number, found)
                        rows += found
        named = {str(row.values[1]): row.values[3] for row in rows if _is_of_schema(row)}
        return {name: root for name, root in named.items() if isinstance(root, int) and root > 1}, not whole

    def _version(self, roots: dict[str, int]) -> int:
        """The version of the old catalog: what was applied to it, or else what its head says."""
        applied = {
            int(str(row.values[2]))
            for row in Trees(self._pages).rows(roots.get("_sqlite_migrations", 2), numbered=True)
            if len(row.values) > 2 and re.fullmatch(r"\d{4}", str(row.values[2]))
        }
        head = int.from_bytes(self._pages.head[60:64], "big")
        version = max(applied, default=head)
        return version if 1 <= version <= VERSION else VERSION

    def _make(self, version: int) -> None:
        from sqlite_utils import Database

        database = Database(self._new, recursive_triggers=False)
        if version < VERSION:
            migrations().apply(database, stop_before=f"{version + 1:04}")
        else:
            migrations().apply(database)
        self._defaults = self._new.execute("SELECT name, value FROM settings").fetchall()
        self._new.execute("DELETE FROM settings")
        self._new.commit()

    def _take(self, shape: Shape, rows: Iterable[Row], witnesses: Witnesses) -> None:
        iterator = iter(rows)
        while some := list(islice(iterator, _CHUNK)):
            with self._new:
                if shape.is_table:
                    self._insert(shape, some)
                else:
                    witnesses.hear(shape, some)
            self._progress.advance(len(self._trees.seen), self._trees.broken_pages)

    def _insert(self, shape: Shape, rows: Sequence[Row]) -> None:
        by_columns: dict[tuple[str, ...], list[tuple[Value, ...]]] = {}
        for row in rows:
            if len(row.values) <= len(shape.columns):
                values = shape.values(row)
                if any(_is_a_key(name) and isinstance(value, int) and value < 1 for name, value in values.items()):
                    continue  # which no row has; what is told of it elsewhere is taken from there
                by_columns.setdefault(tuple(values), []).append(tuple(values.values()))
        for columns, found in by_columns.items():
            self._new.executemany(
                f'INSERT OR IGNORE INTO "{shape.name}" ({", ".join(columns)}) VALUES ({", ".join("?" * len(columns))})',
                found,
            )

    def _take_strays(self, every: Sequence[Shape], witnesses: Witnesses) -> None:
        for number, numbered in list(self._trees.strays()):
            rows = self._trees.leaf(number, numbered=numbered)
            shape = only_fitting(rows, [shape for shape in every if shape.numbered == numbered]) if rows else None
            if shape is not None:
                self._trees.take(number, rows)
                if shape.name != _OF_ITS_OWN:
                    self._take(shape, rows, witnesses)
                self._broken.discard(shape.name)  # what was broken only led to its rows

    def _write_words(self) -> None:
        keys = [row[0] for row in self._new.execute("SELECT key FROM photos ORDER BY key")]
        with self._new:
            changes.mark_orphans(self._new, keys)
            settings.grow_revision(self._new)
        self._progress.stage("words", len(keys))
        for done in words.refresh_all(self._new, keys):
            self._progress.advance(done, 0)

    def _drop_what_hangs_on_nothing(self) -> None:
        """Delete rows that speak of what is not there any more, and put back what every catalog has."""
        with self._new:
            self._new.executemany("INSERT OR IGNORE INTO settings (name, value) VALUES (?, ?)", self._defaults)
            while broken := self._new.execute("PRAGMA foreign_key_check").fetchall():
                for table, rowid, *_ in broken:
                    if rowid is not None:
                        self._new.execute(f'DELETE FROM "{table}" WHERE rowid = ?', (rowid,))
                for table in {row[0] for row in broken if row[1] is None}:
                    self._drop_without_parents(table)
            # Of those nobody could ever find out what they were.
            self._new.execute(
                f"DELETE FROM photos WHERE id GLOB '{UNKNOWN}*'"
                " AND NOT EXISTS (SELECT 1 FROM files WHERE photo_key = photos.key)"
            )

    def _drop_without_parents(self, table: str) -> None:
        for _, _, parent, column, key, *_ in self._new.execute(f'PRAGMA foreign_key_list("{table}")').fetchall():
            self._new.execute(
                f'DELETE FROM "{table}" WHERE {column} IS NOT NULL AND {column} NOT IN (SELECT {key} FROM "{parent}")'
            )

    def _count(self, table: str) -> int:
        return int(self._new.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0])


def _order(shape: Shape) -> int:
    return PRECIOUS.index(shape.name) if shape.name in PRECIOUS else len(PRECIOUS)


def _is_a_key(column: str) -> bool:
    return column == "key" or column.endswith("_key")


def _is_of_schema(row: Row) -> bool:
    kinds = (str, str, str, int)
    return len(row.values) == 5 and all(map(isinstance, row.values[:4], kinds))
