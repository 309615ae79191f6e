"""Looking through the libraries of a run: whole ones, or only the places where something is known to have changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from indexer import rules
from indexer.absence import Absences, why_away
from indexer.libraries import is_below
from indexer.rules import Sieve
from indexer.scan import Scan, scan, scan_places
from search.catalog import changes, paths
from search.errors import SightlineError
from search.home import Home

if TYPE_CHECKING:
    from sqlite_utils import Database


class Survey:
    """What a run found in the libraries.

    Attributes:
        found: all of it together.
        scanned: the folders that were looked through as a whole.
        away: a sentence for each library that is not to be had.
    """

    def __init__(
        self,
        home: Home,
        database: Database,
        absences: Absences,
        say: Callable[[str], None],
        seen: Callable[[int], None] = lambda count: None,
    ) -> None:
        """Nothing is looked at yet; `say` hears of what a person should know, `seen` how many files were seen."""
        self.found = Scan()
        self.scanned: list[bytes] = []
        self.away: list[str] = []
        self._database = database
        self._connection = database.conn
        self._absences = absences
        self._say = say
        self._seen = seen
        self._skip = os.fsencode(home.path.resolve())
        self._rules = rules.read(self._connection)
        self._libraries = {row[0]: row[1] for row in self._connection.execute("SELECT path, offline FROM libraries")}

    def whole(self, roots: Sequence[bytes], *, named: bool) -> None:
        """Look through these folders; `named` says that a person asked for just these.

        Raises:
            SightlineError: one that was named cannot be looked through.
        """
        for root in roots:
            one, error = Scan(), None
            try:
                one = scan(self._connection, root, sieve=self._sieve(root), skip=self._skip, seen=self._seen)
            except OSError as failure:
                error = failure
            if self._absences.given_up(root, error, named=named):
                one, error = Scan(gone=self._all_of(root)), None
            if error is not None or self._absences.emptied(root, one, named=named):
                self._miss(root, why_away(root, error), named=named)
            else:
                self._take(root, one)

    def places(self, places: Sequence[bytes]) -> None:
        """Look at these files and folders, each in its library; at the whole of one that was away."""
        for root, offline in self._libraries.items():
            inside = [place for place in places if paths.is_within(place, root)]
            if not inside:
                continue
            if offline or root in inside or not _holds_anything(root):
                self.whole([root], named=False)
                continue
            one = scan_places(self._connection, inside, sieve=self._sieve(root), root=root, skip=self._skip)
            self.found.add(one)
            with self._database.atomic():
                changes.mark_found(self._connection, one.returned)

    def say_unreadable(self) -> None:
        """Tell which folders could not be listed."""
        for folder, sentence in self.found.unreadable:
            self._say(f"{paths.display(folder)}: {sentence}; what is known of it stays as it is.")

    def _sieve(self, root: bytes) -> Sieve:
        library = max((path for path in self._libraries if is_below(root, [path])), key=len, default=root)
        return Sieve(self._rules, library, self._say)

    def _take(self, root: bytes, one: Scan) -> None:
        self.scanned.append(root)
        self.found.add(one)
        with self._database.atomic():
            changes.put_offline(self._connection, root, None)
            changes.mark_found(self._connection, one.returned)

    def _miss(self, root: bytes, reason: str, *, named: bool) -> None:
        with self._database.atomic():
            sentence = self._absences.away(root, reason)
        if named:
            raise SightlineError(sentence)
        self.away.append(sentence)
        self._say(sentence)

    def _all_of(self, root: bytes) -> list[tuple[int, bytes, bytes]]:
        rows = self._connection.execute("SELECT key, folder, name FROM files").fetchall()
        return [row for row in rows if paths.is_within(row[1], root)]


def _holds_anything(root: bytes) -> bool:
    try:
        with os.scandir(root) as entries:
            return any(True for _ in entries)
    except OSError:
        return False
