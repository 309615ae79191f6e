"""Following the folders for as long as the process lives: what changes is indexed within seconds, all of it is looked
through now and then, and what a run that was cut off has left is gone on with.

Each run is short or makes way: a photo that was just saved is not to wait for the captions of a hundred thousand.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace

from indexer import rules
from indexer.arrivals import Arrivals
from indexer.listening import Listener, is_text, tells
from indexer.model_choice import LoadedModel
from indexer.progress import Preempted, Progress
from indexer.report import IndexOptions, IndexReport
from indexer.rules import Sieve
from indexer.run import run_index
from indexer.scan import Scan, scan_places
from indexer.schedule import Schedule
from search.catalog import model_records, paths
from search.catalog.connection import connect_to_read
from search.errors import CatalogError, GpuError, LockedError, SightlineError
from search.home import Home

DAILY = 24 * 3600.0
"""Seconds between two looks at everything, where nothing else is asked for: not every change is told."""
_MAKE_WAY = {"embed", "captions", "text", "tags"}
_LEAST = 2.0  # seconds that a stage works before it makes way, so that it comes to an end some day
_LOOK_SECONDS = 0.25
_LOCKED = 2.0
_PATIENCE = 5.0
"""Seconds between two looks at which libraries there are."""
_FAILED = 60.0


class Follower:
    """Follows the libraries of one home."""

    def __init__(
        self,
        home: Home,
        options: IndexOptions,
        progress: Progress,
        *,
        watch: bool = True,
        every: float | None = None,
        poll: bool = False,
        patient: bool = False,
        started: Callable[[int], None] | None = None,
        reported: Callable[[IndexReport], None] = lambda report: None,
    ) -> None:
        """Nothing is done before `run`.

        Args:
            home: whose libraries.
            options: of the first run. Later ones are as the home remembers, which others may change meanwhile; where
                and how the model computes is for all of them.
            progress: hears of every run.
            watch: whether changes are listened for.
            every: seconds between two looks at everything; None: `DAILY`.
            poll: whether folders are asked for changes, rather than waiting to be told.
            patient: whether it waits for a first library, where there is none yet.
            started: hears the id of each job.
            reported: hears what each run did.
        """
        self.arrivals = Arrivals()
        self._home = home
        self._options = options
        self._progress = progress
        self._watch = watch
        self._every = every or DAILY
        self._poll = poll
        self._patient = patient
        self._started = started
        self._reported = reported
        self._model = LoadedModel()
        self._stopped = threading.Event()
        self._listeners: list[Listener] = []
        self._listened: dict[bytes, str] = {}
        self._folders: Sequence[str] = ()
        self._began = False  # a run as it was asked for has come to its end
        self._warm = False
        self._owed = False  # a run made way before it had described what it was to

    def stop(self) -> None:
        """Let `run` return when its present run has ended, or raise `KeyboardInterrupt` in it to end that too."""
        self._stopped.set()
        self.arrivals.wake()

    def run(self, folders: Sequence[str] = ()) -> None:
        """Index `folders`, then follow all libraries until stopped.

        Raises:
            SightlineError: the first run cannot be done as it was asked for.
        """
        whole = Schedule(self._every)
        threading.Thread(target=self._look, name="arrivals", daemon=True).start()
        try:
            if not self._patient:
                self._folders = folders
                self._listen()
                self._first()
                whole.done()
                if not self._began:  # it made way
                    whole.bring_forward(0)
            while not self._stopped.is_set():
                if self._patient and not self._roots():
                    self._stopped.wait(_PATIENCE)
                    continue
                self._listen()
                if self.arrivals.ready():
                    places = self.arrivals.take()
                    if places is None:
                        whole.bring_forward(0)
                    elif self._concerns(places):
                        self._try(places, whole)
                elif whole.is_due():
                    self._try(None, whole)
                elif self._owed:
                    self._try([], whole)
                elif self._watch and not self._warm:
                    self._load()
                else:
                    self.arrivals.wait(min(whole.seconds_left(), _PATIENCE))
        finally:
            self._stopped.set()
            for listener in self._listeners:
                listener.close()

    def _load(self) -> None:
        """Load the model before it is needed: the first photo to arrive should not wait for that."""
        self._warm = True
        # What cannot be done ahead is tried again, and said, by the run that needs it.
        with contextlib.suppress(SightlineError, OSError, RuntimeError, sqlite3.Error):
            with closing(connect_to_read(self._home)) as connection:
                active = model_records.active(connection)
            if active is not None:
                self._model.get(active.name, active.precision, self._options)

    def _look(self) -> None:
        while not self._stopped.wait(_LOOK_SECONDS):
            self.arrivals.look()

    def _first(self) -> None:
        """The run that was asked for; it waits for another one that is at work."""
        said = False
        while not self._stopped.is_set():
            try:
                self._index(None)
                return
            except LockedError as error:
                if not said:
                    self._progress.say(str(error))
                said = True
                self._stopped.wait(_LOCKED)

    def _try(self, places: list[bytes] | None, whole: Schedule) -> None:
        """One run; what it cannot do now, a later one does."""
        if places is None:
            whole.done()
        try:
            report = self._index(places)
        except LockedError:
            self.arrivals.put_back(places or ())
            self._owed = places == []
            if places is None:
                whole.bring_forward(_LOCKED)
            self._stopped.wait(_LOCKED)
        except GpuError:
            raise  # only another process can go on
        except (SightlineError, sqlite3.Error) as error:
            self._progress.say(str(error))
            whole.bring_forward(_FAILED)
            self._stopped.wait(_LOCKED)
        else:
            if report.preempted and places is None:
                whole.bring_forward(0)

    def _index(self, places: list[bytes] | None) -> IndexReport:
        first = places is None and not self._began
        cause = "watch" if places is not None else "command" if first and not self._patient else "schedule"
        options = self._options if first else self._options.of_the_machine()
        progress = _MakingWay(self._progress, self._urgent, whole=places is None)
        self._owed = False
        report = run_index(
            self._home,
            self._folders if first else (),
            replace(options, cause=cause),
            progress,
            self._started,
            places=places,
            model=self._model,
        )
        # What was asked for holds until a run has come to its end.
        self._began = self._began or (first and not report.preempted)
        self._owed = report.preempted and places is not None
        self._reported(report)
        return report

    def _listen(self) -> None:
        """Listen to the libraries that there are now."""
        if not self._watch:
            return
        # A drive may be mounted where none was: whether it tells is asked each time.
        roots = {root: _way(root, self._poll) for root in self._roots() if not paths.is_remote(root)}
        if roots == self._listened:
            return
        for listener in self._listeners:
            listener.close()
        self._listeners = [
            Listener(some, self.arrivals, self._progress.say, polling=way != "told")
            for way in ("told", "asked", "untold")
            if (some := [root for root in roots if roots[root] == way])
        ]
        for listener in self._listeners:
            listener.listens.wait(30)
        # What happened in a library before anybody listened is found by looking at it; at first, all are looked at.
        if self._listened or self._began:
            self.arrivals.changed_as_a_whole(root for root in roots if roots[root] != self._listened.get(root))
        self._listened = roots

    def _roots(self) -> list[bytes]:
        try:
            with closing(connect_to_read(self._home)) as connection:
                return [row[0] for row in connection.execute("SELECT path FROM libraries ORDER BY key")]
        except (CatalogError, sqlite3.Error):
            return []

    def _urgent(self) -> bool:
        """Whether a photo has arrived, or gone; what has not is forgotten by this."""
        places = self.arrivals.take() if self.arrivals.ready() else []
        urgent = places is None or self._concerns(places)
        if urgent:
            self.arrivals.put_back(places)
        return urgent

    def _concerns(self, places: list[bytes]) -> bool:
        """Whether anything at these places is not as the catalog has it; many changes are of no concern."""
        if not places:
            return False
        try:
            return self._differ(places)
        except (CatalogError, sqlite3.Error):
            return True  # a run says what is wrong with the catalog

    def _differ(self, places: list[bytes]) -> bool:
        found = Scan()
        skip = os.fsencode(self._home.path.resolve())
        with closing(connect_to_read(self._home)) as connection:
            known = rules.read(connection)
            for root, offline in connection.execute("SELECT path, offline FROM libraries").fetchall():
                inside = [place for place in places if paths.is_within(place, root)]
                if inside and (offline or root in inside or not os.path.isdir(root)):
                    return True
                found.add(scan_places(connection, inside, sieve=Sieve(known, root), root=root, skip=skip))
        return bool(found.to_read or found.gone or found.left_out or found.returned)


def _way(root: bytes, poll: bool) -> str:
    """How changes in a library come to be known."""
    if not is_text(root):
        return "untold"
    return "asked" if poll or not tells(root) else "told"


class _MakingWay:
    """A `Progress` that ends a long stage when a photo has arrived."""

    def __init__(self, inner: Progress, urgent: Callable[[], bool], *, whole: bool) -> None:
        self._inner = inner
        self._urgent = urgent
        self._stages = _MAKE_WAY if whole else _MAKE_WAY - {"embed"}
        self._name = ""
        self._began = 0.0

    def stage(self, name: str, total: int | None) -> None:
        """See `Progress.stage`."""
        self._inner.stage(name, total)
        self._name, self._began = name, time.monotonic()

    def advance(self, done: int, failed: int) -> None:
        """See `Progress.advance`."""
        self._inner.advance(done, failed)
        late = time.monotonic() - self._began >= _LEAST
        if late and self._name in self._stages and self._urgent():
            raise Preempted("It made way for photos that had just arrived; the next run goes on from there.")

    def say(self, sentence: str) -> None:
        """See `Progress.say`."""
        self._inner.say(sentence)
