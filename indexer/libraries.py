"""The folders that are indexed: which of them are libraries, and which library a folder belongs to."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection
from pathlib import Path

from indexer.storage import storage_of
from search.catalog import paths
from search.errors import SightlineError
from search.home import Home


class Libraries:
    """Finds the library that a folder belongs to, remembering the last one asked for."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._roots = connection.execute("SELECT path, key FROM libraries ORDER BY length(path) DESC").fetchall()
        self._last: tuple[bytes, int] = (b"", 0)

    def __call__(self, folder: bytes) -> int:
        """The key of the library that `folder` belongs to, which there must be."""
        if folder != self._last[0]:
            self._last = folder, next(key for path, key in self._roots if paths.is_within(folder, path))
        return self._last[1]


def is_below(folder: bytes, roots: list[bytes]) -> bool:
    """Whether a folder is one of the roots or lies in one."""
    return any(paths.is_within(folder, root) for root in roots)


def outermost(roots: list[bytes]) -> list[bytes]:
    """Each folder once, without those that lie in another one: they are scanned with it."""
    return [
        root
        for place, root in enumerate(roots)
        if root not in roots[:place] and not any(other != root and paths.is_within(root, other) for other in roots)
    ]


def check_new(roots: Collection[bytes], known: Callable[[], list[bytes]]) -> None:
    """Make sure that what is to become a library in an object storage is there, and is no mistake in writing; those
    that are `known` may be away.

    Raises:
        SightlineError: one is not to be had.
    """
    for root in roots:
        if not paths.is_remote(root) or is_below(root, known()):
            continue
        try:
            storage_of(root).check(root)
        except FileNotFoundError as error:
            raise SightlineError(
                f"There is nothing at {paths.display(root)}: name a bucket or a folder in it."
            ) from error
        except NotADirectoryError as error:
            raise SightlineError(f"{paths.display(root)} is an object; name the folder that it is in.") from error
        except OSError as error:
            raise SightlineError(
                f"{paths.display(root)} cannot be listed ({(error.strerror or str(error)).lower()}): see to its "
                "address, the network and the credentials."
            ) from error


def root_of(home: Home, folder: Path | str | bytes, known: Collection[bytes] = ()) -> bytes:
    """The folder's absolute path, links in it resolved, so that one folder is one library. One of the `known` libraries
    need not be there.

    Raises:
        SightlineError: there is no such folder, it is the home itself, or it is no address of an object storage.
    """
    named = os.fsencode(folder)
    if paths.is_remote(named.lower()):
        from indexer.storage.addresses import checked_root

        return checked_root(named)
    root = os.path.realpath(os.path.expanduser(named))
    if not os.path.isdir(root) and root not in known:
        what = "is a file; name the folder that it is in" if os.path.exists(root) else "does not exist"
        raise SightlineError(f"{paths.display(named)} {what}.")
    if root == os.fsencode(os.path.realpath(home.path)):
        raise SightlineError(f"{paths.display(named)} is Sightline's own home, not a folder of photos.")
    return root
