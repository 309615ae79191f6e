"""The catalog as a database: that it opens, has the tables of its version, and that SQLite finds no page broken."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator

from indexer.salvage.pages import Pages
from indexer.verify.findings import Finding, Mending, View, listed, several
from search.catalog import declared, soundness
from search.catalog.connection import open_reader, unusable
from search.catalog.damage import UNREADABLE, is_damage
from search.catalog.files import beside
from search.catalog.schema import VERSION
from search.errors import MissingCatalogError, VersionError
from search.home import Home

_MOST = 100  # of what SQLite finds; the first of it tells enough
_TRIES = 3
_TICKS = 100_000  # of SQLite's machine, between two looks at whether somebody wants to stop
_OF_WORDS = re.compile(r"FTS5 table main\.(\w+)")


def unreadable_commits(home: Home) -> list[Finding]:
    """What is lost in the log. Only before anything is written: SQLite passes over it in silence, and writes anew."""
    log = beside(home.catalog_path, "-wal")
    with contextlib.suppress(OSError):
        for _ in range(_TRIES):  # somebody may be writing to it
            before = log.stat()
            with Pages(home.catalog_path) as pages:
                lost, surely = pages.lost_commits, pages.lost_surely
            if not lost:
                return []
            now = log.stat()
            if (before.st_ino, before.st_size, before.st_mtime_ns) != (now.st_ino, now.st_size, now.st_mtime_ns):
                continue
            what = f"The catalog's log is damaged: {several(lost, 'commit')} in it cannot be read."
            if not surely:
                what += " If the power failed while that was written, nothing is lost that was said to be done."
            return [Finding("log", what, lambda mending: None)]  # a repair keeps it, and begins another
    return []


def opened(home: Home) -> tuple[sqlite3.Connection | None, list[Finding]]:
    """A reading connection to the catalog, or what keeps it from being opened.

    Raises:
        MissingCatalogError: nothing was ever written to it.
        VersionError: it is another version's, and says so in every place.
        CatalogError: it cannot be read for a reason that is no damage.
    """
    before = unreadable_commits(home)
    try:
        connection: sqlite3.Connection = open_reader(home.catalog_path)
    except UNREADABLE as error:
        if not is_damage(error):
            raise unusable(home, error) from error
        return None, [*before, _structural(f"The catalog cannot be opened: {error}.")]
    try:
        soundness.prepare(connection)
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] and not derived(home):
            raise MissingCatalogError(f"There is no index in {home.path} yet: its first run was cut off.")
        found = _version(home, connection)
    except UNREADABLE as error:
        connection.close()
        return None, [*before, _structural(f"The catalog cannot be read: {error}.")]
    except BaseException:
        connection.close()
        raise
    return connection, [*before, *found]


def look(view: View) -> Iterator[Finding]:
    """What is wrong with the database itself."""
    view.progress.stage("pages", None)
    view.connection.set_progress_handler(lambda: 0, _TICKS)  # lets Ctrl+C through in the midst of a long check
    try:
        yield from _schema(view)
        yield from _pages(view)
    except UNREADABLE as error:
        if not is_damage(error):
            raise
        yield _structural(f"The catalog cannot be read: {error}.")
    finally:
        view.connection.set_progress_handler(None, 0)


def _structural(what: str) -> Finding:
    return Finding("catalog", what, structural=True)


def _version(home: Home, connection: sqlite3.Connection) -> list[Finding]:
    """A wrong number of the version: what was applied to the catalog is written down in two places."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    applied = connection.execute("SELECT count(*), max(name) FROM _sqlite_migrations").fetchone()
    if version == VERSION and applied == (VERSION, f"{VERSION:04}"):
        return []
    if applied == (VERSION, f"{VERSION:04}"):
        return [
            Finding(
                "catalog",
                f"The number of the catalog's version is {version}, and should be {VERSION}.",
                _put_version,
            )
        ]
    if version == VERSION:
        return [_structural("The list of what was applied to the catalog is incomplete.")]
    raise VersionError(
        f"The index in {home.path} was written by {'a newer' if version > VERSION else 'an older'} Sightline; "
        + ("upgrade to check it." if version > VERSION else "run `sightline index` once, then check it.")
    )


def _put_version(mending: Mending) -> None:
    mending.connection.execute(f"PRAGMA user_version = {VERSION}")


def _schema(view: View) -> Iterator[Finding]:
    """Tables that are missing, or declared otherwise; triggers, views and indexes that nobody should have made."""
    wrong, foreign = declared.strange(view.connection)
    if wrong:
        yield _structural(f"The schema of the catalog is not as it was made: {', '.join(wrong)}.")
    if foreign:
        names = [f"{kind} {name}" for kind, name in foreign]
        yield Finding(
            "catalog",
            f"Something else than Sightline has made in the catalog: {listed(names, len(names))}.",
            _drop_foreign,
            about="foreign",
        )


def _drop_foreign(mending: Mending) -> None:
    with mending.transaction():
        declared.drop(mending.connection, declared.strange(mending.connection).foreign)


def broken_pages(connection: sqlite3.Connection) -> list[str]:
    """What SQLite finds broken in a catalog's own structure, the first of it. Raises `sqlite3.Error`."""
    said = [str(row[0]) for row in connection.execute(f"PRAGMA integrity_check({_MOST})")]
    # Newer versions of SQLite look into full-text indexes here too; `words` does so with every version.
    # What a constraint says of values is among the rules for rows.
    return [
        " ".join(line.split())
        for line in said
        if line != "ok" and not _OF_WORDS.search(line) and not line.startswith("CHECK constraint failed")
    ]


def _pages(view: View) -> Iterator[Finding]:
    view.checked["pages"] = view.one("PRAGMA page_count")
    if broken := broken_pages(view.connection):
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        first = broken[0].removeprefix("*** in database main *** ")
        yield _structural(f"SQLite finds the catalog malformed: {first}{more}.")


def derived(home: Home) -> list[str]:
    """What of a home lies beside its catalog and says that there was one."""
    log = beside(home.catalog_path, "-wal")
    found = [path.name for path in (home.vectors_dir, home.thumbnails_dir) if path.exists()]
    return [*found, log.name] if log.exists() and log.stat().st_size else found
