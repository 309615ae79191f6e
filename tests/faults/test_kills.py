"""The indexer dies at every step and at any moment, its disk is full, its memory is not enough; nothing is lost."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support import picture
from victims import Nursery

from indexer.decoding.decoders import Decoders
from indexer.thumbnails import Thumbnails
from search import failpoints
from search.catalog.connection import connect_to_read
from search.engine import Engine, Request
from search.errors import CatalogError
from search.home import Home
from search.vectors.generations import newest

pytestmark = pytest.mark.usefixtures("loaded_once")

PHOTOS = 20
# At those of Milvus, tests/search/milvus/test_sync.py lets it die.
AFTER_INDEXING = sorted(set(failpoints.STEPS) - {"thumbnail written", "migrating"} - failpoints.OF_MILVUS)


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory, nursery: Nursery) -> Path:
    """A folder with `photos` and their `home`, and a copy of both as they were."""
    folder = tmp_path_factory.mktemp("kills")
    (folder / "photos" / "inner").mkdir(parents=True)
    for number in range(PHOTOS):
        picture(folder / "photos" / ("inner" if number % 2 else ".") / f"{number}.jpg", number)
    assert nursery.run(Home(folder / "home"), [folder / "photos"])["error"] is None
    for name in ("photos", "home"):
        shutil.copytree(folder / name, folder / "as it was" / name)
    return folder


@pytest.fixture
def photos(indexed: Path) -> Path:
    """The library as it was."""
    shutil.rmtree(indexed / "photos", ignore_errors=True)
    shutil.copytree(indexed / "as it was" / "photos", indexed / "photos")
    return indexed / "photos"


@pytest.fixture
def home(indexed: Path) -> Home:
    """Its home as it was."""
    shutil.rmtree(indexed / "home", ignore_errors=True)
    shutil.copytree(indexed / "as it was" / "home", indexed / "home")
    return Home(indexed / "home")


def shown(home: Home) -> set[str]:
    """What answers show, after the catalog was found sound, and every way to ask shows the same."""
    with closing(connect_to_read(home)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        # No half of a group: a photo that a file holds has its embedding and its words.
        lacking = connection.execute(
            "SELECT count(*) FROM photos WHERE orphaned_at IS NULL AND (NOT EXISTS"
            " (SELECT 1 FROM files WHERE photo_key = photos.key) OR NOT EXISTS"
            " (SELECT 1 FROM embeddings WHERE photo_key = photos.key) OR NOT EXISTS"
            " (SELECT 1 FROM words WHERE words.rowid = photos.key))"
        ).fetchone()[0]
        assert lacking == 0
        if connection.execute("SELECT 1 FROM settings WHERE name = 'active_model'").fetchone() is None:
            return set()
    with Engine.open(home) as engine:
        listed = [hit.path for hit in engine.search(Request(limit=1000)).hits]
        ranked = [hit.path for hit in engine.search(Request("x", mode="meaning", limit=1000, include_all=True)).hits]
    assert sorted(listed) == sorted(ranked) and len(set(listed)) == len(listed)
    return set(listed)


def shown_or_nothing(home: Home) -> set[str]:
    """The same, where the very first run may have died before there was a catalog."""
    try:
        return shown(home)
    except CatalogError:
        with closing(sqlite3.connect(home.catalog_path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return set()


def change(photos: Path, dice: random.Random, number: int) -> None:
    """Something happens in the folder: a photo comes, is renamed, edited, goes."""
    picture(photos / f"new {number}.jpg", 100_000 + number)
    files = sorted(photos.rglob("*.jpg"))
    one, two, three = dice.sample(files, 3)
    one.rename(photos / f"renamed {number}.jpg")
    picture(two, 200_000 + number)
    if len(files) > PHOTOS // 2:
        three.unlink()


def needed(step: str) -> dict[str, Any]:
    """What a run is to be asked for so that it comes to a step."""
    if step == "descriptions written":
        return {"captions": "starter"}
    return {"grace": -1 if step == "orphans purged" else 3600}  # all that is gone was gone for long


def started(home: Home, step: str) -> set[str]:
    """What is shown before, of a home in which a run comes to a step."""
    if step == "model activated":  # at the first run, or where the model is another one
        shutil.rmtree(home.path)
        return set()
    return shown(home)


@pytest.mark.parametrize("step", AFTER_INDEXING)
def test_killed_at_a_step_it_goes_on(
    nursery: Nursery, home: Home, photos: Path, tried: Callable[[str], None], times: Callable[[int], int], step: str
) -> None:
    dice = random.Random(step)
    before = started(home, step)
    for number in range(times(1)):
        change(photos, dice, number)
        # Twice in a row: at the first run that has all of it to do, and at the one that should have mended that.
        for _ in range(2):
            end = nursery.run(home, [photos], at=(step, 1, "kill"), **needed(step))
            assert end["died"] or end["error"] is None
            assert shown_or_nothing(home) >= before & set(map(str, photos.rglob("*.jpg")))
        end = nursery.run(home)
        before = shown(home)
        assert end["error"] is None and before == set(map(str, photos.rglob("*.jpg")))
        tried(f"kill -9 at “{step}”")


def test_every_step_is_one_that_a_run_comes_to(nursery: Nursery, tmp_path: Path, photos: Path) -> None:
    for number, step in enumerate(AFTER_INDEXING):
        home = Home(tmp_path / str(number))
        if step in ("files forgotten", "orphans purged"):
            nursery.run(home, [photos], grace=-1)
            next(photos.glob("*.jpg")).unlink()
        assert nursery.run(home, [photos], at=(step, 1, "kill"), **needed(step))["died"], step


def test_killed_again_and_again_at_any_moment_nothing_is_lost(
    nursery: Nursery, home: Home, photos: Path, tried: Callable[[str], None], times: Callable[[int], int]
) -> None:
    dice = random.Random(7)
    shutil.rmtree(home.path)
    shown_before: set[str] = set()
    for number in range(times(20)):
        change(photos, dice, number)
        # What is gone is given up now and then; otherwise it gathers, and is kept.
        nursery.run(home, [photos], after=dice.uniform(0, 0.4), confirm_removals=number % 3 == 0)
        here = set(map(str, photos.rglob("*.jpg")))
        now = shown_or_nothing(home)
        assert now >= shown_before & here
        shown_before = now
        tried("kill -9 at any moment of a run")
    # Much of it may be gone at once by now, which is asked about.
    assert nursery.run(home, [photos], confirm_removals=True)["error"] is None
    assert shown(home) == set(map(str, photos.rglob("*.jpg")))
    with closing(connect_to_read(home)) as connection:
        generation = newest(connection, 1)
        assert generation is not None
        folders = {folder.name for folder in home.vectors_dir.iterdir()}
        assert generation.folder in folders and len(folders) <= 2  # nothing is left of those that died


def test_a_disk_that_is_full_at_any_write_costs_the_batch_in_flight(
    nursery: Nursery, home: Home, photos: Path, tried: Callable[[str], None], times: Callable[[int], int]
) -> None:
    dice = random.Random(11)
    largest = max(file.stat().st_size for file in home.path.rglob("*") if file.is_file())
    before = shown(home)
    for number in range(times(8)):
        change(photos, dice, number)
        # No file may grow beyond it: the kernel refuses the write, whoever makes it.
        end = nursery.run(home, [photos], largest_file=dice.randrange(1, 2 * largest))
        assert not end["died"] and not (end["error"] or "").startswith("UNEXPECTED"), end
        now = shown(home)
        assert now >= before & set(map(str, photos.rglob("*.jpg")))
        before = now
        tried("a write that fails, of any file of the home")
    # Much of it may be gone at once by now, which is asked about.
    assert nursery.run(home, [photos], confirm_removals=True)["error"] is None
    assert shown(home) == set(map(str, photos.rglob("*.jpg")))


@pytest.mark.parametrize("step", AFTER_INDEXING)
def test_a_disk_that_is_full_at_a_step_is_said(
    nursery: Nursery, home: Home, photos: Path, tried: Callable[[str], None], step: str
) -> None:
    started(home, step)
    change(photos, random.Random(step), 0)
    end = nursery.run(home, [photos], at=(step, 1, "full"), **needed(step))
    assert end["error"] is not None and "No space left on device" in end["error"], end
    # Much of it may be gone at once by now, which is asked about.
    assert nursery.run(home, [photos], confirm_removals=True)["error"] is None
    assert shown(home) == set(map(str, photos.rglob("*.jpg")))
    tried(f"a full disk at “{step}”")


def test_a_migration_that_is_cut_off_is_done_again(tmp_path: Path, tried: Callable[[str], None]) -> None:
    import lzma

    home = Home(tmp_path / "home")
    home.path.mkdir()
    catalogs = Path(__file__).parents[1] / "search" / "catalogs"
    home.catalog_path.write_bytes(lzma.decompress((catalogs / "1.db.xz").read_bytes()))
    program = (
        "import sys; from pathlib import Path; from search import failpoints; from search.home import Home\n"
        "from search.catalog.connection import connect_to_write\n"
        "failpoints.arm('migrating', int(sys.argv[2])); connect_to_write(Home(Path(sys.argv[1])))"
    )
    version = 1
    for number in (2, 1, 3, 1):
        done = subprocess.run([sys.executable, "-c", program, str(home.path), str(number)], check=False)
        assert done.returncode < 0
        with closing(sqlite3.connect(home.catalog_path)) as connection:
            now = connection.execute("PRAGMA user_version").fetchone()[0]
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert now == version + number - 1  # those before it are done, it is not
        version = now
        tried("kill -9 inside a migration")


@pytest.fixture
def thumbnail(home: Home, photos: Path) -> Iterator[tuple[str, Path]]:
    with Engine.open(home) as engine:
        hit = engine.search(Request(limit=1)).hits[0]
    yield hit.id, Path(hit.path)


def test_a_thumbnail_that_is_cut_off_is_made_again(
    home: Home, thumbnail: tuple[str, Path], tried: Callable[[str], None]
) -> None:
    photo, path = thumbnail
    program = (
        "import sys; from pathlib import Path; from search import failpoints; from search.home import Home\n"
        "from indexer.decoding.decoders import Decoders\n"
        "from indexer.thumbnails import Thumbnails\n"
        "failpoints.arm('thumbnail written')\n"
        "thumbnails = Thumbnails(Home(Path(sys.argv[1])), Decoders.of_process(1))\n"
        "thumbnails.get_bytes(sys.argv[2], sys.argv[3].encode(), 'small')"
    )
    done = subprocess.run([sys.executable, "-c", program, str(home.path), photo, str(path)], check=False)
    assert done.returncode < 0
    thumbnails = Thumbnails(home, Decoders.of_process(1))
    assert not thumbnails.path_for(photo, "small").exists()
    made = thumbnails.get_bytes(photo, str(path).encode(), "small")
    assert thumbnails.path_for(photo, "small").read_bytes().startswith(made)
    assert thumbnails.state(photo, "small") == "whole"
    tried("kill -9 at “thumbnail written”")


def test_memory_that_is_not_enough_costs_no_photo_that_was_found(
    nursery: Nursery, home: Home, photos: Path, tried: Callable[[str], None], times: Callable[[int], int]
) -> None:
    dice = random.Random(13)
    before = shown(home)
    for number in range(times(3)):
        change(photos, dice, number)
        nursery.run(home, [photos], memory=dice.randrange(1, 200) * 2**20)
        now = shown(home)
        assert now >= before & set(map(str, photos.rglob("*.jpg")))
        before = now
        tried("too little memory (RLIMIT_AS)")
    end = nursery.run(home, [photos], confirm_removals=True)
    assert end["error"] is None and shown(home) == set(map(str, photos.rglob("*.jpg")))


def test_a_fail_point_that_is_none_is_refused() -> None:
    for wrong in (("nowhere", 1, "kill"), ("scanned", 0, "kill"), ("scanned", 1, "explode")):
        with pytest.raises(ValueError, match="There is no fail point"):
            failpoints.arm(*wrong)


def test_a_fail_point_of_the_environment_kills_the_command(home: Home, photos: Path) -> None:
    import os

    command = [sys.executable, "-m", "sightline", "index", str(photos), "--home", str(home.path), "--captions", "off"]
    environment = {**os.environ, "SIGHTLINE_FAIL_AT": "scanned:1:kill"}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == -9
