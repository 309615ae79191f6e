"""Verifying a home, and repairing it."""

from __future__ import annotations

import time
from contextlib import closing

from indexer.lock import writer_lock
from indexer.progress import Progress, Silent
from indexer.verify import catalog
from indexer.verify.findings import View
from indexer.verify.look import look, without_catalog
from indexer.verify.repair import repair as mend
from indexer.verify.report import Verification
from search.catalog.connection import connect_to_any
from search.home import Home


def verify(home: Home, *, repair: bool = False, photos: bool = False, progress: Progress | None = None) -> Verification:
    """Check the catalog, vectors and thumbnails against each other and the photos' files; with `photos` each file is
    read. Without `repair` it only reads, beside a run at work too and on a read-only disk.

    Raises:
        MissingCatalogError: there is nothing to check.
        VersionError: another version of Sightline made the index.
        LockedError: something is to be repaired, and a run is at work.
        SightlineError: what was to be mended could not be written.
    """
    began = time.perf_counter()
    if not home.path.is_dir():
        connect_to_any(home)[0].close()
    if repair:
        with writer_lock(home):
            found = mend(home, photos, progress or Silent())
    else:
        found = _check(home, photos, progress or Silent())
    found.seconds = time.perf_counter() - began
    return found


def _check(home: Home, photos: bool, progress: Progress) -> Verification:
    if not home.catalog_path.is_file():
        return Verification(problems=without_catalog(home))
    connection, found = catalog.opened(home)
    if connection is None:
        return Verification(problems=found)
    with closing(connection):
        view = View(home, connection, progress, photos)
        found += look(view)
    return Verification(dict(view.checked), found, view.notes)
