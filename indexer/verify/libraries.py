"""Libraries: whether files lie in the one that the catalog names, and which folder one was that is damaged or lost."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from indexer.storage import storage_of
from indexer.verify.findings import Finding, Mending, View, listed
from search.catalog import paths
from search.catalog.clock import now

_ELSEWHERE = "If it was one above that, run `sightline index` on it."


def look(view: View) -> Iterator[Finding]:
    """Files that do not lie below the library that they are said to be of."""
    roots: dict[int, object] = dict(view.connection.execute("SELECT key, path FROM libraries"))
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
    yield Finding("libraries", f"Files do not lie in the library that the catalog names: {folders}.", _set_right(wrong))


def bring_back(mending: Mending) -> None:
    """Make the libraries again that files name and that are not there, of the folders of these files."""
    connection = mending.connection
    rows = connection.execute(
        "SELECT library_key, folder, count(*) FROM files WHERE library_key NOT IN (SELECT key FROM libraries)"
        " GROUP BY library_key, folder"
    ).fetchall()
    known = [row[0] for row in connection.execute("SELECT path FROM libraries")]
    lost: dict[int, Counter[bytes]] = {}
    for library, folder, count in rows:
        if isinstance(folder, bytes) and not any(_is_within(folder, path) for path in known):
            lost.setdefault(library, Counter())[folder] += count
    for folders in lost.values():
        if (root := root_of(folders)) is not None:
            connection.execute("INSERT OR IGNORE INTO libraries (path, added_at) VALUES (?, ?)", (root, now()))
            mending.notes.append(f"A library was lost; by its files its folder is {paths.display(root)}. {_ELSEWHERE}")
    place_files(connection)


def place_files(connection: sqlite3.Connection) -> None:
    """Give each file the library that it lies in; one that lies in none is forgotten."""
    libraries = connection.execute("SELECT path, key FROM libraries ORDER BY length(path) DESC").fetchall()
    for key, folder, library in connection.execute("SELECT key, folder, library_key FROM files").fetchall():
        holding = next((one for path, one in libraries if _is_within(folder, path)), None)
        if holding is None:
            connection.execute("DELETE FROM files WHERE key = ?", (key,))
        elif holding != library:
            connection.execute("UPDATE files SET library_key = ? WHERE key = ?", (holding, key))


def root_of(folders: Mapping[bytes, int]) -> bytes | None:
    """The folder that holds these, each of which has so many files; None where there is none but the root of all.

    Some may be damaged: those that are no absolute paths; where most files lie in folders that are there, those that
    are not; and where nothing else is common to all, those that begin otherwise than most.
    """
    whole = {folder: count for folder, count in folders.items() if _is_whole(folder)}
    there = {folder: count for folder, count in whole.items() if storage_of(folder).is_folder(folder)}
    if 2 * sum(there.values()) > sum(whole.values()):
        whole = there
    if _common(whole) is None:
        files = Counter[bytes]()
        for folder, count in whole.items():
            files[_beginning(folder)] += count
        whole = {
            folder: count for folder, count in whole.items() if _beginning(folder) == max(files, key=files.__getitem__)
        }
    return _common(whole)


def _common(folders: Mapping[bytes, int]) -> bytes | None:
    return paths.common(list(folders))


def _is_whole(folder: bytes) -> bool:
    return (os.path.isabs(folder) or paths.is_remote(folder)) and b"\0" not in folder


def _beginning(folder: bytes) -> bytes:
    if paths.is_remote(folder):
        return b"/".join(folder.split(b"/")[:3])
    drive, path = os.path.splitdrive(os.path.normpath(folder))
    return drive + os.sep.encode() + path.strip(os.sep.encode()).split(os.sep.encode())[0]


def _is_within(folder: object, root: object) -> bool:
    return isinstance(folder, bytes) and isinstance(root, bytes) and paths.is_within(folder, root)


def _set_right(wrong: list[int]) -> Callable[[Mending], None]:
    def mend(mending: Mending) -> None:
        connection = mending.connection
        with mending.transaction():
            for library in wrong:
                folders = {
                    folder: count
                    for folder, count in connection.execute(
                        "SELECT folder, count(*) FROM files WHERE library_key = ? GROUP BY folder", (library,)
                    )
                    if isinstance(folder, bytes)
                }
                (path,) = connection.execute("SELECT path FROM libraries WHERE key = ?", (library,)).fetchone()
                root = None if _is_believed(path, folders) else root_of(folders)
                if root is not None:
                    connection.execute("UPDATE OR IGNORE libraries SET path = ? WHERE key = ?", (root, library))
                    mending.notes.append(
                        f"The folder of a library was damaged; by its files it is {paths.display(root)}. {_ELSEWHERE}"
                    )
            place_files(connection)

    return mend


def _is_believed(path: object, folders: Mapping[bytes, int]) -> bool:
    """Whether it is the folders of files that are damaged, and not the library's path: some lie below it, or it is
    there while none of them is."""
    if any(_is_within(folder, path) for folder in folders):
        return True
    return isinstance(path, bytes) and _is_there(path) and not any(map(_is_there, folders))


def _is_there(folder: bytes) -> bool:
    return _is_whole(folder) and storage_of(folder).is_folder(folder)
