"""Whatever happens to a folder and to the indexer, answers are those of a plain list of what must be found.

Hypothesis plays with a real folder, a real index and an engine that stays open, and after each step holds the answers
against an oracle: a dictionary from paths to contents. `SIGHTLINE_FAULTS=500` plays so many games.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support import picture, save_checkpoint
from victims import Nursery

from indexer.files import photo_id
from indexer.model_choice import LoadedModel
from indexer.report import IndexOptions
from indexer.run import run_index
from search import failpoints
from search.answer import Answer
from search.catalog import model_records
from search.catalog.connection import connect_to_read
from search.engine import Engine, Request
from search.home import Home

pytestmark = pytest.mark.usefixtures("loaded_once")

FOLDERS = ("", "2021", "2021/summer", "odd \u202e name")
LIBRARIES = ("photos", "drive")
Place = tuple[str, str]
"""A library, and the path of a file in it."""

contents = st.integers(0, 11)
folders = st.sampled_from(FOLDERS)
libraries = st.sampled_from(LIBRARIES)
_CONTENT: dict[int, bytes] = {}
_MODELS: dict[str, LoadedModel] = {}
_NURSERY: list[Nursery] = []
_CHECKPOINT: list[str] = []


def content(seed: int) -> bytes:
    if seed not in _CONTENT:
        with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
            picture(Path(file.name), seed)
            _CONTENT[seed] = Path(file.name).read_bytes()
    return _CONTENT[seed]


class Machine(RuleBasedStateMachine):
    """A folder of photos, its index, and what must be found."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="sightline-model-"))
        self.home = Home(self.root / "home")
        self.disk: dict[str, dict[str, int]] = {library: {} for library in LIBRARIES}
        self.away: dict[str, str] = {}  # how a library is away: "missing" or "empty"
        self.rows: dict[Place, int] = {}  # what the index has: the content at each place
        self.missing: set[Place] = set()
        self.offline: set[str] = set()
        self.ignored = False
        self.clock = 10**18
        self.number = 0
        self.model = "starter"
        for library in LIBRARIES:
            (self.root / library).mkdir()
        self.engine: Engine | None = None

    def teardown(self) -> None:
        if self.engine is not None:
            self.engine.close()
            self.engine = None  # with its model: whoever plays keeps every game in mind
        shutil.rmtree(self.root, ignore_errors=True)

    # What a person does with her photos.

    @initialize()
    def some_photos_and_a_first_index(self) -> None:
        for seed in range(6):
            self._put(LIBRARIES[seed % 2], f"first {seed}.jpg", seed)
        for library in LIBRARIES:
            self._index([library])
        self.engine = Engine.open(self.home)

    @rule(library=libraries, folder=folders, seed=contents)
    def add(self, library: str, folder: str, seed: int) -> None:
        if library not in self.away:
            self.number += 1
            self._put(library, os.path.join(folder, f"{self.number}.jpg"), seed)

    @rule(data=st.data(), seed=contents)
    def edit(self, data: st.DataObject, seed: int) -> None:
        for library, path in self._some(data):
            self._put(library, path, seed)

    @rule(data=st.data(), library=libraries, folder=folders)
    def move(self, data: st.DataObject, library: str, folder: str) -> None:
        for before, path in self._some(data):
            if library in self.away:
                continue
            self.number += 1
            after = os.path.join(folder, f"moved {self.number}.jpg")
            (self.root / library / after).parent.mkdir(parents=True, exist_ok=True)
            os.rename(self.root / before / path, self.root / library / after)
            self.disk[library][after] = self.disk[before].pop(path)

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        for library, path in self._some(data):
            (self.root / library / path).unlink()
            del self.disk[library][path]

    @rule(library=libraries)
    def delete_a_folder(self, library: str) -> None:
        if library not in self.away:
            shutil.rmtree(self.root / library / "2021", ignore_errors=True)
            self.disk[library] = {path: seed for path, seed in self.disk[library].items() if path[:5] != "2021/"}

    @rule(data=st.data())
    def touch(self, data: st.DataObject) -> None:
        for library, path in self._some(data):
            self.clock += 10**9
            os.utime(self.root / library / path, ns=(self.clock, self.clock))

    @rule(data=st.data())
    def link(self, data: st.DataObject) -> None:
        for library, path in self._some(data):
            self.number += 1
            (self.root / library / f"link {self.number}.jpg").symlink_to(self.root / "elsewhere" / f"{self.number}.jpg")
            (self.root / "elsewhere").mkdir(exist_ok=True)
            (self.root / "elsewhere" / f"{self.number}.jpg").write_bytes(content(self.disk[library][path]))
            self.disk[library][f"link {self.number}.jpg"] = self.disk[library][path]

    @rule(library=libraries, how=st.sampled_from(["missing", "empty"]))
    def unplug(self, library: str, how: str) -> None:
        if library not in self.away:
            os.rename(self.root / library, self.root / f"{library} unplugged")
            if how == "empty":
                (self.root / library).mkdir()
            self.away[library] = how

    @rule(library=libraries)
    def plug(self, library: str) -> None:
        if library in self.away:
            if self.away.pop(library) == "empty":
                (self.root / library).rmdir()
            os.rename(self.root / f"{library} unplugged", self.root / library)

    @precondition(lambda self: not self.away)
    @rule()
    def ignore_or_not(self) -> None:
        file = self.root / LIBRARIES[0] / ".sightlineignore"
        if self.ignored:
            file.unlink()
        else:
            file.write_text("/2021/\n")
        self.ignored = not self.ignored

    # What Sightline does.

    @rule(confirmed=st.booleans())
    def reindex(self, confirmed: bool) -> None:
        self._index([], confirm_removals=confirmed)

    @rule()
    def look_at_what_changed(self) -> None:
        """As while the folders are watched: only the places where something is otherwise."""
        if self.away or self.offline:
            return
        now = self._visible()
        changed = [place for place in {*self.rows, *now} if self.rows.get(place) != now.get(place)]
        changed += [place for place in now if place in self.missing]
        # As it is told of a folder that has gone: of its files, and of itself.
        paths = {self.root / library / path for library, path in changed}
        paths |= {path.parent for path in paths if not path.parent.exists()}
        places = sorted(map(os.fsencode, paths))
        run_index(self.home, [], self._options(), places=places, model=self._loaded())
        self._expect(confirmed=False, whole=False)

    @rule(model=st.sampled_from(["starter", "other"]))
    def change_the_model(self, model: str) -> None:
        self.model = model
        self._index([])

    @rule(
        step=st.sampled_from(sorted(set(failpoints.STEPS) - {"thumbnail written", "migrating"} - failpoints.OF_MILVUS)),
        times=st.integers(1, 3),
    )
    def reindex_and_die(self, step: str, times: int) -> None:
        before = dict(self.rows)
        options = {"model": self._name(), "batch_size": 1}
        end = _NURSERY[0].run(self.home, [], at=(step, times, "kill"), **options)
        assert end["died"] or end["error"] is None, end
        self._read_back()
        now = self._visible()
        for place, seed in self.rows.items():
            assert seed in (before.get(place), now.get(place)), f"{place} was never that"
        for place, seed in before.items():
            if now.get(place) == seed and place[0] not in self.away:
                assert self.rows.get(place) == seed, f"{place} was lost"

    @invariant()
    def answers_are_those_of_the_list(self) -> None:
        if self.engine is None:
            return
        listed = self.engine.search(Request(limit=1000)).hits
        assert {hit.id: hit.offline for hit in listed} == self._expected()
        if listed:
            ranked = self._ranked().hits
            # Photos that are away when the model changes cannot be embedded by it; all others are found by meaning.
            here = {hit.id for hit in listed if not hit.offline}
            assert here <= {hit.id for hit in ranked} <= {hit.id for hit in listed}
        places: dict[str, set[str]] = {}
        for (library, path), seed in self.rows.items():
            places.setdefault(photo_id(content(seed)), set()).add(str(self.root / library / path))
        for hit in listed[:3]:
            photo = self.engine.photo(hit.id)
            assert photo is not None and set(map(os.fsdecode, photo.paths)) == places[hit.id]

    def _ranked(self) -> Answer:
        """All photos by meaning, as soon as the model that answers is the index's: another one is loaded first."""
        assert self.engine is not None
        with closing(connect_to_read(self.home)) as connection:
            active = model_records.active(connection)
        until = time.monotonic() + 60
        while True:
            answer = self.engine.search(Request("anything", mode="meaning", limit=1000, include_all=True))
            if active is not None and answer.model == active.name:
                return answer
            assert time.monotonic() < until, "the engine does not follow"
            time.sleep(0.01)

    # The oracle.

    def _visible(self) -> dict[Place, int]:
        """What lies in the libraries that are there, and is not left out."""
        return {
            (library, path): seed
            for library in LIBRARIES
            if library not in self.away
            for path, seed in self.disk[library].items()
            if not self._is_ignored((library, path))
        }

    def _is_ignored(self, place: Place) -> bool:
        return self.ignored and place[0] == LIBRARIES[0] and place[1].startswith("2021/")

    def _expected(self) -> dict[str, bool]:
        """The ids of all photos, and whether they are offline."""
        photos: dict[str, bool] = {}
        for place, seed in self.rows.items():
            away = place in self.missing or place[0] in self.offline
            photos[photo_id(content(seed))] = photos.get(photo_id(content(seed)), True) and away
        return photos

    def _expect(self, *, confirmed: bool, whole: bool) -> None:
        """What the index must have after a run that came to its end."""
        now, had = self._visible(), dict(self.rows)
        seen = [library for library in LIBRARIES if library not in self.away]
        empty = [
            library for library in seen if not self.disk[library] and sum(place[0] == library for place in had) > 1
        ]
        self.offline = {*self.away, *empty} & {place[0] for place in had} if whole else self.offline
        looked = [library for library in seen if library not in empty]
        gone = [place for place in had if place[0] in looked and place not in now and not self._is_ignored(place)]
        new = [place for place in now if place not in had]
        # A file that is not there any more is the one that was found elsewhere with the same content.
        for place in sorted(new):
            from_ = next((one for one in sorted(had, key=self._age) if one in gone and had[one] == now[place]), None)
            if from_ is not None:
                self.rows.pop(from_, None)
                self.missing.discard(from_)
                had.pop(from_)
                if from_ in gone:
                    gone.remove(from_)
        for library in looked:
            absent = [place for place in gone if place[0] == library]
            total = sum(place[0] == library for place in self._before)
            if confirmed or len(absent) <= max(1, 0.2 * total):
                for place in absent:
                    del self.rows[place]
                    self.missing.discard(place)
            else:
                self.missing.update(absent)
            for place in [place for place in self.rows if place[0] == library and self._is_ignored(place)]:
                del self.rows[place]
                self.missing.discard(place)
        for place, seed in now.items():
            self.rows[place] = seed
            self.missing.discard(place)
        self._before = dict(self.rows)
        self._check_rows()

    def _index(self, folders: list[str], *, confirm_removals: bool = False) -> None:
        options = self._options(confirm_removals=confirm_removals)
        run_index(self.home, [self.root / folder for folder in folders], options, model=self._loaded())
        if folders:  # one by one, at the start
            self._read_back()
        else:
            self._expect(confirmed=confirm_removals, whole=True)

    def _read_back(self) -> None:
        """Take what the index has for what it must have: after a death it may be any state in between."""
        names = {photo_id(content(seed)): seed for seed in range(12)}
        with closing(connect_to_read(self.home)) as connection:
            rows = connection.execute(
                "SELECT libraries.path, folder, name, id, missing_at, offline FROM files"
                " JOIN photos ON photos.key = photo_key JOIN libraries ON libraries.key = library_key"
                " ORDER BY files.key"
            ).fetchall()
        self.rows, self.missing, self.offline = {}, set(), set()
        for root, folder, name, identity, missing, offline in rows:
            library = os.path.basename(os.fsdecode(root))
            path = os.fsdecode(os.path.join(folder, name)[len(root) + 1 :])
            self.rows[library, path] = names[identity]
            if missing is not None:
                self.missing.add((library, path))
            if offline is not None:
                self.offline.add(library)
        self._before = dict(self.rows)

    def _check_rows(self) -> None:
        rows, missing, offline = dict(self.rows), set(self.missing), set(self.offline)
        self._read_back()
        assert (self.rows, self.missing, self.offline) == (rows, missing, offline)

    def _age(self, place: Place) -> int:
        return list(self._before).index(place)

    # Helpers.

    def _some(self, data: st.DataObject) -> list[Place]:
        """One file that is there, or none."""
        there = sorted(
            (library, path) for library in LIBRARIES if library not in self.away for path in self.disk[library]
        )
        return [data.draw(st.sampled_from(there))] if there else []

    def _put(self, library: str, path: str, seed: int) -> None:
        file = self.root / library / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.write_bytes(content(seed))
        self.clock += 10**9
        os.utime(file, ns=(self.clock, self.clock))
        self.disk[library][path] = seed

    def _options(self, **more: Any) -> IndexOptions:
        return IndexOptions(model=self._name(), captions="off", **more)

    def _name(self) -> str:
        return "starter" if self.model == "starter" else _CHECKPOINT[0]

    def _loaded(self) -> LoadedModel:
        return _MODELS.setdefault(self.model, LoadedModel())


def test_answers_are_those_of_a_plain_list_whatever_happens(
    nursery: Nursery, tmp_path_factory: pytest.TempPathFactory, times: Any, tried: Any
) -> None:
    _NURSERY[:] = [nursery]
    _CHECKPOINT[:] = [save_checkpoint(tmp_path_factory.mktemp("model") / "checkpoint")]
    games = times(6)
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Machine,
        settings=settings(
            max_examples=games,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize="SIGHTLINE_FAULTS" not in os.environ,
            database=None,
            phases=[Phase.generate, *([Phase.shrink] if "SIGHTLINE_FAULTS" in os.environ else [])],
        ),
    )
    for _ in range(games):
        tried("a game of 25 steps: adding, editing, moving, deleting, unplugging, dying, …")
