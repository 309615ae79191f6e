"""What lies where a folder of derived things should be, and is none."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from indexer.verify.findings import Finding


def is_displaced(folder: Path) -> bool:
    """Whether something else lies in a folder's place: a file, a FIFO, a link to what is not there."""
    return os.path.lexists(folder) and not folder.is_dir()


def displaced(kind: str, folder: Path) -> Finding:
    """The finding that something lies in the folder's place. A link may lead to a disk that is not plugged in."""
    if folder.is_symlink():
        what = (
            f"{folder} is a link to {os.readlink(folder)}, which is no folder. Bring that back (plug in its drive), or "
            "delete the link."
        )
        return Finding(kind, what, about="folder")
    return Finding(
        kind,
        f"{folder} is no folder; what lies in its place is in the way.",
        lambda mending: delete([folder]),
        about="folder",
    )


def delete(paths: Iterable[Path]) -> None:
    """Delete files, links and folders with all that is in them, as far as that can be done."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink()
