"""Thumbnails: whether each is whole, the photo's whose name it bears, and of a photo that there is."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from indexer.thumbnails import SIZES, KeptThumbnails
from indexer.verify.findings import Finding, View, are, listed, several
from indexer.verify.folders import delete, displaced, is_displaced

_NAME = re.compile(rf"([0-9a-f]{{32}})-({'|'.join(SIZES)})\.webp")
_FOLDER = re.compile("[0-9a-f]{2}")
_BEING_WRITTEN = re.compile(r"[0-9a-f]{32}-\w+\..*\.tmp")
_OLD = 3600.0
"""Seconds: a file that is so old and still has the name of one that is being written was given up."""


def look(view: View) -> Iterator[Finding]:
    """Thumbnails that are damaged, that lie in a wrong place, or whose photo is gone."""
    home = view.home.thumbnails_dir
    if is_displaced(home):
        yield displaced("thumbnails", home)
        return
    folders = [path for path in _files(home) if path.is_dir()]
    view.progress.stage("thumbnails", len(folders))
    thumbnails = KeptThumbnails(view.home)
    damaged = [path for path in _files(home) if _FOLDER.fullmatch(path.name) and is_displaced(path)]
    stray: list[Path] = []
    early = 0
    for done, folder in enumerate(folders):
        known = {
            row[0]
            for row in view.connection.execute(
                "SELECT id FROM photos WHERE id >= ? AND id < ?", (folder.name, f"{folder.name}g")
            )
        }
        for path in _files(folder):
            named = _NAME.fullmatch(path.name)
            if named is None:
                if _BEING_WRITTEN.fullmatch(path.name) and _age(path) > _OLD:
                    stray.append(path)
                continue
            view.checked["thumbnails"] += 1
            photo, size = named.groups()
            if folder.name != photo[:2] or photo not in known:
                stray.append(path)
                continue
            with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                state = _state(thumbnails, photo, size)
                early += state == "early"
                if state == "damaged":
                    damaged.append(path)
        view.progress.advance(done + 1, len(damaged))
    # A photo that a run has just forgotten loses its thumbnails a moment later.
    stray = [] if view.is_busy() else [path for path in stray if path.exists()]
    if early:
        view.notes.append(f"{several(early, 'thumbnail')} of an earlier version will be made anew when looked at.")
    if damaged:
        yield Finding(
            "thumbnails",
            f"{several(len(damaged), 'thumbnail')} {are(len(damaged))} damaged or of another photo: {_named(damaged)}.",
            lambda mending: delete(damaged),
        )
    if stray:
        yield Finding(
            "leftovers",
            f"{several(len(stray), 'thumbnail')} {are(len(stray))} of no photo of this index, or in a wrong folder: "
            f"{_named(stray)}.",
            lambda mending: delete(stray),
            about="thumbnails",
        )


def _state(thumbnails: KeptThumbnails, photo: str, size: str) -> str:
    path = thumbnails.path_for(photo, size)
    if not path.is_file():  # a folder, or what would never end to be read
        if os.path.lexists(path):
            return "damaged"
        raise FileNotFoundError
    try:
        return thumbnails.state(photo, size)
    except FileNotFoundError:
        raise
    except OSError:
        return "damaged"  # the disk does not give it


def _files(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return sorted(folder.iterdir())
    return []


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _named(paths: list[Path]) -> str:
    return listed([path.name for path in paths], len(paths))
