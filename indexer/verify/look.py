"""All subjects in their turn."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator

from indexer import restore
from indexer.verify import catalog, files, links, milvus, rows, tags, thumbnails, vectors, words
from indexer.verify.findings import Finding, Mending, View, listed
from search.catalog.connection import check_place, connect_to_any, one_state
from search.catalog.damage import UNREADABLE, is_damage
from search.errors import SightlineError
from search.home import Home

Subject = Callable[[View], Iterator[Finding]]

_OF_THE_CATALOG: tuple[Subject, ...] = (rows.look, links.look, tags.look, words.look, vectors.look, milvus.look)
"""Looked at in one state of it."""
_OF_FILES: tuple[Subject, ...] = (thumbnails.look, files.look)
"""These take so long that a run beside them could not empty its log meanwhile, were they of one state."""


def look(view: View, *, without_photos: bool = False) -> list[Finding]:
    """All that is wrong; where the catalog itself cannot be relied on, nothing else is looked at. `without_photos`
    leaves out the photos' files."""
    found: list[Finding] = []
    try:
        with one_state(view.connection):
            found += catalog.look(view)
            if any(finding.structural for finding in found):
                return found
            for subject in _OF_THE_CATALOG:
                found += _looked(subject, view, found)
        for subject in _OF_FILES:
            if not (without_photos and subject is files.look):
                found += _looked(subject, view, found)
        found += _cut_off(view)
    except UNREADABLE as error:
        if not is_damage(error):
            raise
        found.append(Finding("catalog", f"The catalog cannot be read: {error}.", structural=True))
    return found


def without_catalog(home: Home) -> list[Finding]:
    """What is wrong with a home whose catalog is gone.

    Raises:
        MissingCatalogError: there is nothing else in it, either.
        CatalogError: something that is no catalog lies in its place.
    """
    check_place(home)
    left = catalog.derived(home)
    if not left:
        connect_to_any(home)[0].close()
    what = (
        f"The catalog {home.catalog_path} is gone, while {', '.join(left)} is still there. Restore a backup with "
        "`sightline restore`, or run `sightline index PATH` to begin afresh."
    )
    return [Finding("catalog", what)]


def _looked(subject: Subject, view: View, before: list[Finding]) -> list[Finding]:
    try:
        return list(subject(view))
    except (OSError, SightlineError):
        raise
    except Exception as error:
        # Values that cannot be were found, and this came upon one; else it is a broken page, or a fault of the program.
        of_a_value = not isinstance(error, sqlite3.Error) or "Could not decode" in str(error)
        if not of_a_value or not any(finding.kind in ("rows", "photos") for finding in before):
            raise
        name = subject.__module__.rpartition(".")[2]
        what = f"Values that cannot be kept {name} from being checked ({type(error).__name__})."
        return [Finding("rows", what, lambda mending: None, about=name)]  # those values are what is mended


def _cut_off(view: View) -> list[Finding]:
    """What restores and repairs that were killed have left in the home."""
    found = restore.leftovers(view.home)
    if not found or view.is_busy():
        return []
    names = [path.name for path in found]

    def sweep(mending: Mending) -> None:
        restore.sweep(mending.home)

    what = f"A restore was cut off and left {listed(names, len(names))}."
    return [Finding("leftovers", what, sweep, about="restore")]
