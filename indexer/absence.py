"""What is not where it was: whether that is a deletion, or a drive that is away.

A library whose folder is missing, empty or unreadable is *offline*: nothing of it is forgotten. Where much of a library
went at once, a person is asked first; until then those files are *missing*. Answers show such photos as offline.
"""

from __future__ import annotations

import shlex
import sqlite3
from collections import Counter
from collections.abc import Sequence

from indexer.scan import GoneFile, Scan
from indexer.storage import storage_of
from search.catalog import changes, paths

SHARE = 0.2
"""More of a library is not forgotten at once without a person's word; a single file is."""


class Absences:
    """What one run finds missing: `missing` files, and `sentences` on what a person is asked."""

    def __init__(self, connection: sqlite3.Connection, *, confirmed: bool) -> None:
        """Judge for one run; `confirmed` is the person's word that what is gone was removed."""
        self._connection = connection
        self._confirmed = confirmed
        self._files: dict[int, int] = {}
        self.missing = 0
        self.sentences: list[str] = []

    def away(self, root: bytes, reason: str) -> str:
        """The library `root` is not to be had, for this `reason`; returns the sentence that says so."""
        if not self._is_library(root):
            return f"{paths.display(root)} {reason}; what is known of it stays as it is."
        sentence = (
            f"{paths.display(root)} {reason}; what is known of it stays, marked as offline. If its photos were removed "
            f"for good: `sightline index {shlex.quote(paths.display(root))} --confirm-removals`."
        )
        changes.put_offline(self._connection, root, sentence)
        return sentence

    def emptied(self, root: bytes, found: Scan, *, named: bool) -> bool:
        """Whether a library where there were photos has none at all any more, as where a drive was; unless a person
        who `named` it has said that they were removed."""
        given_up = self._confirmed and named
        # A single photo is never asked about.
        return len(found.gone) > 1 and not found.photos and not given_up and self._is_library(root)

    def given_up(self, root: bytes, error: OSError | None, *, named: bool) -> bool:
        """Whether a library's folder is gone for good, by the word of a person who `named` it."""
        gone = error is not None and not storage_of(root).exists(root)
        return gone and self._confirmed and named and self._is_library(root)

    def count(self) -> None:
        """Count the files of each library, before anything of them is moved or forgotten."""
        self._files = dict(
            self._connection.execute(
                "SELECT library_key, count(*) FROM files WHERE photo_key IS NOT NULL GROUP BY library_key"
            )
        )

    def decide(self, gone: Sequence[GoneFile]) -> list[GoneFile]:
        """Of the files that are gone and were not found elsewhere, those to forget; the others are marked as missing,
        and `sentences` say what to do."""
        by_library: dict[int, list[GoneFile]] = {}
        photos: Counter[int] = Counter()
        for key, folder, name in dict.fromkeys(gone):
            row = self._connection.execute(
                "SELECT library_key, photo_key FROM files WHERE key = ? AND folder = ? AND name = ?",
                (key, folder, name),
            ).fetchone()
            if row is not None:  # else it was found elsewhere, or is forgotten
                by_library.setdefault(row[0], []).append((key, folder, name))
                photos[row[0]] += row[1] is not None
        forgotten: list[GoneFile] = []
        for library, files in by_library.items():
            known = {key for key, *_ in files}
            earlier = changes.missing(self._connection, library) - known
            absent, had = photos[library] + len(earlier), self._files.get(library, 0)
            if self._confirmed or absent <= max(1, SHARE * had):
                forgotten += files
                continue
            changes.mark_missing(self._connection, known)
            self.missing += absent
            (root,) = self._connection.execute("SELECT path FROM libraries WHERE key = ?", (library,)).fetchone()
            self.sentences.append(
                f"{absent:,} of the {had:,} photos of {paths.display(root)} are not there any more, more than a fifth "
                "at once; what is known of them stays, marked as offline. If they were removed for good: "
                f"`sightline index {shlex.quote(paths.display(root))} --confirm-removals`."
            )
        return forgotten

    def _is_library(self, root: bytes) -> bool:
        return self._connection.execute("SELECT 1 FROM libraries WHERE path = ?", (root,)).fetchone() is not None


def why_away(root: bytes, error: OSError | None) -> str:
    """Why a library's folder cannot be scanned, as what is said of it."""
    if error is None:
        return "holds no photo any more"
    if not storage_of(root).exists(root):
        return "is not there"
    return f"cannot be listed ({(error.strerror or str(error)).lower()})"
