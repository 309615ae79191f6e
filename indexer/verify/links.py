"""Rows that speak of each other: photos and their files, files and their libraries, settings and what they name."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator

from indexer.verify.findings import Finding, Mending, View, are, listed, several
from search.catalog import changes, paths, settings, words

_ORPHANS_WITH_FILES = "SELECT key FROM photos WHERE orphaned_at IS NOT NULL AND key IN (SELECT photo_key FROM files)"
_WITHOUT_FILES = (
    "SELECT key FROM photos WHERE orphaned_at IS NULL AND key NOT IN"
    " (SELECT photo_key FROM files WHERE photo_key IS NOT NULL)"
)


def look(view: View) -> Iterator[Finding]:
    """Rows that speak of what is not there, or not of what is."""
    view.progress.stage("links", None)
    view.checked["photos"] = view.one("SELECT count(*) FROM photos")
    view.checked["files"] = view.one("SELECT count(*) FROM files")
    yield from _references(view)
    yield from _orphans(view)
    yield from _libraries(view)
    yield from _settings(view)


def _references(view: View) -> Iterator[Finding]:
    broken = Counter((row[0], row[2]) for row in view.connection.execute("PRAGMA foreign_key_check"))
    for (table, parent), count in sorted(broken.items()):
        yield Finding(
            "references",
            f"{several(count, 'row')} of {table} {are(count, 'speaks', 'speak')} of {parent} that are not there.",
            _drop(table),
        )


def _drop(table: str) -> Callable[[Mending], None]:
    def mend(mending: Mending) -> None:
        connection = mending.connection
        with mending.transaction():
            for _, _, parent, column, key, *_ in connection.execute(f'PRAGMA foreign_key_list("{table}")').fetchall():
                gone = f'{column} IS NOT NULL AND {column} NOT IN (SELECT {key} FROM "{parent}")'
                if (table, column) == ("files", "library_key"):
                    _find_libraries(connection)
                connection.execute(f'DELETE FROM "{table}" WHERE {gone}')
            settings.grow_revision(connection)

    return mend


def _find_libraries(connection: sqlite3.Connection) -> None:
    """Give each file the library that it lies in; one that lies in none is forgotten, as is one of no photo."""
    libraries = connection.execute("SELECT path, key FROM libraries ORDER BY length(path) DESC").fetchall()
    for key, folder, library in connection.execute("SELECT key, folder, library_key FROM files").fetchall():
        holding = next((one for path, one in libraries if paths.is_within(folder, path)), None)
        if holding is None:
            connection.execute("DELETE FROM files WHERE key = ?", (key,))
        elif holding != library:
            connection.execute("UPDATE files SET library_key = ? WHERE key = ?", (holding, key))


def _orphans(view: View) -> Iterator[Finding]:
    there = [row[0] for row in view.connection.execute(_ORPHANS_WITH_FILES)]
    if there:
        yield Finding(
            "orphans",
            f"{several(len(there), 'photo')} {are(len(there))} marked as gone though in a file: {view.names(there)}.",
            lambda mending: _mark(mending, there, gone=False),
        )
    gone = [row[0] for row in view.connection.execute(_WITHOUT_FILES)]
    if gone:
        yield Finding(
            "orphans",
            f"No file holds {several(len(gone), 'photo')} that {are(len(gone))} not marked as gone.",
            lambda mending: _mark(mending, gone, gone=True),
        )


def _mark(mending: Mending, keys: list[int], *, gone: bool) -> None:
    with mending.transaction():
        if gone:
            changes.mark_orphans(mending.connection, keys)
        else:
            for key in keys:
                changes.bring_back(mending.connection, key)
            words.refresh(mending.connection, keys)
        settings.grow_revision(mending.connection)


def _libraries(view: View) -> Iterator[Finding]:
    """Files that do not lie below the library that they are said to be of."""
    roots: dict[int, bytes] = dict(view.connection.execute("SELECT key, path FROM libraries"))
    stray = [
        (library, folder)
        for library, folder in view.connection.execute("SELECT DISTINCT library_key, folder FROM files")
        if library in roots and not _is_within(folder, roots[library])
    ]
    if not stray:
        return
    wrong = sorted({library for library, _ in stray})
    folders = listed(
        [paths.display(folder) if isinstance(folder, bytes) else repr(folder) for _, folder in stray], len(stray)
    )
    yield Finding(
        "libraries", f"Files do not lie in the library that the catalog names: {folders}.", _mend_libraries(wrong)
    )


def _is_within(folder: object, root: object) -> bool:
    return isinstance(folder, bytes) and isinstance(root, bytes) and paths.is_within(folder, root)


def _mend_libraries(wrong: list[int]) -> Callable[[Mending], None]:
    def mend(mending: Mending) -> None:
        connection = mending.connection
        with mending.transaction():
            for library in wrong:
                folders = [
                    row[0]
                    for row in connection.execute("SELECT DISTINCT folder FROM files WHERE library_key = ?", (library,))
                    if isinstance(row[0], bytes)
                ]
                (path,) = connection.execute("SELECT path FROM libraries WHERE key = ?", (library,)).fetchone()
                # Where none of them lies below it, it is the library's path that is damaged.
                if folders and not any(_is_within(folder, path) for folder in folders):
                    root = os.path.commonpath(folders)
                    connection.execute("UPDATE OR IGNORE libraries SET path = ? WHERE key = ?", (root, library))
                    mending.progress.say(
                        f"The folder of a library was damaged; by its files it is {paths.display(root)}. If it was one "
                        "above that, run `sightline index` on it."
                    )
            _find_libraries(connection)

    return mend


def _settings(view: View) -> Iterator[Finding]:
    names = {row[0] for row in view.connection.execute("SELECT name FROM settings")}
    missing = sorted({"revision", "dismissals", "words_state"} - names)
    if missing:
        yield Finding("settings", f"The catalog lacks {listed(missing, len(missing))}.", _put_missing)
    active = settings.get(view.connection, "active_model")
    models = {str(row[0]) for row in view.connection.execute("SELECT key FROM models")}
    if active not in models and (active is not None or view.one("SELECT count(*) FROM embeddings")):
        what = "names none" if active is None else "names one that is not there"
        yield Finding("settings", f"Of the models that have embedded photos the index {what} as its own.", _activate)


def _put_missing(mending: Mending) -> None:
    with mending.transaction():
        settings.put_missing(mending.connection)


def _activate(mending: Mending) -> None:
    """Let that model answer which has embedded the most photos, the newest of several."""
    connection = mending.connection
    with mending.transaction():
        row = connection.execute(
            "SELECT models.key, name FROM models JOIN embeddings ON model_key = models.key"
            " GROUP BY models.key ORDER BY count(*) DESC, models.key DESC LIMIT 1"
        ).fetchone()
        if row is None:
            connection.execute("DELETE FROM settings WHERE name = 'active_model'")
        else:
            settings.put(connection, "active_model", str(row[0]))
            if settings.get(connection, "model") is None:
                settings.put(connection, "model", row[1])
        settings.grow_revision(connection)
