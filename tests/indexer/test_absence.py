"""Photos that are not where they were: deleted, or away for a while."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import picture

from indexer.report import IndexOptions
from indexer.run import run_index
from search.catalog.connection import connect_to_read
from search.catalog.editing import put_caption
from search.engine import Engine, Request
from search.errors import SightlineError
from search.home import Home
from search.status import status

pytestmark = pytest.mark.usefixtures("loaded_once")

CONFIRMED = IndexOptions(confirm_removals=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An indexed library of ten photos and a second one of two, with their home; copied for each test."""
    folder = tmp_path_factory.mktemp("absence")
    for number in range(10):
        (folder / "photos" / str(number % 2)).mkdir(parents=True, exist_ok=True)
        picture(folder / "photos" / str(number % 2) / f"{number}.jpg", number)
    return folder


@pytest.fixture
def photos(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "photos", tmp_path / "photos")
    return tmp_path / "photos"


@pytest.fixture
def home(photos: Path, tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    run_index(home, [photos], IndexOptions(model="starter", captions="off"))
    return home


@pytest.fixture
def engine(home: Home) -> Iterator[Engine]:
    with Engine.open(home) as engine:
        yield engine


def offline(engine: Engine) -> list[bool]:
    return [hit.offline for hit in engine.search(Request(limit=100)).hits]


@pytest.mark.parametrize("how", ["missing", "empty", "file"])
def test_a_library_that_is_away_keeps_every_photo_marked_as_offline(
    home: Home, photos: Path, engine: Engine, how: str
) -> None:
    photos.rename(photos.with_name("aside"))
    if how == "empty":
        photos.mkdir()
    elif how == "file":
        photos.write_text("no folder")
    report = run_index(home)
    assert report.removed == report.missing == 0
    (sentence,) = report.waits
    assert str(photos) in sentence and "--confirm-removals" in sentence
    assert offline(engine) == [True] * 10
    (library,) = engine.status()["libraries"]
    assert library["missing"] == 10 and library["offline"] == sentence
    if how == "empty":
        photos.rmdir()
    elif how == "file":
        photos.unlink()
    photos.with_name("aside").rename(photos)
    back = run_index(home)
    assert (back.unchanged, back.added, back.embedded, back.waits) == (10, 0, 0, [])
    assert offline(engine) == [False] * 10
    (library,) = engine.status()["libraries"]
    assert library["missing"] == 0 and library["offline"] is None


def test_who_names_a_library_that_is_away_is_told_so(home: Home, photos: Path) -> None:
    shutil.rmtree(photos)
    photos.mkdir()
    with pytest.raises(SightlineError, match="holds no photo any more; what is known of it stays"):
        run_index(home, [photos])
    photos.rmdir()
    with pytest.raises(SightlineError, match="does not exist"):
        run_index(home, [photos])


def test_more_than_a_fifth_is_not_forgotten_without_a_word(home: Home, photos: Path, engine: Engine) -> None:
    gone = sorted(photos.rglob("*.jpg"))[:3]
    aside = photos.with_name("aside")
    aside.mkdir()
    for file in gone:
        file.rename(aside / file.name)
    for _ in range(2):  # nor at the second time
        report = run_index(home)
        assert (report.removed, report.missing) == (0, 3)
        assert report.waits[0].startswith(f"3 of the 10 photos of {photos} are not there any more")
    assert sum(offline(engine)) == 3
    (aside / gone[0].name).rename(gone[0])
    assert run_index(home).missing == 0  # two are no more than a fifth
    assert engine.search(Request(limit=100)).total == 8 and not any(offline(engine))


def test_a_word_lets_go_of_what_was_held(home: Home, photos: Path, engine: Engine) -> None:
    shutil.rmtree(photos / "0")
    assert run_index(home).missing == 5
    assert run_index(home, [], CONFIRMED).removed == 5
    assert engine.search(Request(limit=100)).total == 5 and not any(offline(engine))


@pytest.mark.parametrize("left", ["nothing", "an empty folder"])
def test_a_word_gives_up_a_library(home: Home, photos: Path, tmp_path: Path, engine: Engine, left: str) -> None:
    other = tmp_path / "other"
    other.mkdir()
    picture(other / "x.jpg", 99)
    run_index(home, [other])
    shutil.rmtree(photos)
    if left == "an empty folder":
        photos.mkdir()
    assert run_index(home, [photos], CONFIRMED).removed == 10
    assert [hit.path for hit in engine.search(Request(limit=100)).hits] == [str(other / "x.jpg")]
    known = [library["path"] for library in engine.status()["libraries"]]
    assert known == ([str(other)] if left == "nothing" else [str(photos), str(other)])


def test_a_word_for_all_gives_up_no_library_that_is_away(home: Home, photos: Path, engine: Engine) -> None:
    photos.rename(photos.with_name("aside"))
    assert run_index(home, [], CONFIRMED).removed == 0
    assert offline(engine) == [True] * 10


def test_a_single_photo_is_no_mass_however_small_the_library(home: Home, photos: Path, engine: Engine) -> None:
    files = sorted(photos.rglob("*.jpg"))
    while len(files) > 2:
        files.pop().unlink()
        assert run_index(home).removed == 1
    assert engine.search(Request()).total == 2


def test_a_move_is_no_removal_however_much_it_is(home: Home, photos: Path, engine: Engine) -> None:
    (photos / "1").rename(photos / "elsewhere")
    report = run_index(home)
    assert (report.moved, report.missing, report.removed) == (5, 0, 0)
    assert not any(offline(engine))


def test_other_photos_in_the_place_of_a_drive_push_none_out(home: Home, photos: Path, engine: Engine) -> None:
    photos.rename(photos.with_name("aside"))
    photos.mkdir()
    for number in range(30):
        picture(photos / f"other{number}.jpg", 100 + number)
    report = run_index(home)
    assert (report.added, report.missing, report.removed) == (30, 10, 0)
    assert sum(offline(engine)) == 10


def test_what_is_ignored_by_now_leaves_without_a_question_and_comes_back_for_nothing(
    home: Home, photos: Path, engine: Engine
) -> None:
    (photos / ".sightlineignore").write_text("0/\n")
    assert run_index(home).removed == 5
    assert engine.search(Request()).total == 5
    (photos / ".sightlineignore").unlink()
    report = run_index(home)
    assert (report.added, report.embedded) == (5, 0)


def test_a_copy_that_is_there_speaks_for_one_that_is_away(
    home: Home, photos: Path, tmp_path: Path, engine: Engine
) -> None:
    other = tmp_path / "other"
    shutil.copytree(photos, other)
    (other / "0" / "0.jpg").unlink()
    run_index(home, [other])
    photos.rename(photos.with_name("aside"))
    run_index(home)
    hits = engine.search(Request(limit=100)).hits
    assert {hit.path for hit in hits if not hit.offline} == {str(file) for file in other.rglob("*.jpg")}
    assert [hit.path for hit in hits if hit.offline] == [str(photos / "0" / "0.jpg")]


def test_removed_photos_are_kept_for_as_long_as_was_asked_for(home: Home, photos: Path) -> None:
    (photos / "0" / "0.jpg").unlink()
    run_index(home, [], IndexOptions(grace=3600))
    connection = connect_to_read(home)
    assert connection.execute("SELECT count(*) FROM photos").fetchone()[0] == 10
    connection.execute("SELECT 1")
    connection.close()
    run_index(home, [], IndexOptions(grace=-1))
    connection = connect_to_read(home)
    assert connection.execute("SELECT count(*) FROM photos").fetchone()[0] == 9
    assert status(home, connection)["photos"] == 9
    connection.close()


def test_what_was_said_of_a_photo_outlives_its_copies_while_its_drive_is_away(
    home: Home, photos: Path, tmp_path: Path, engine: Engine
) -> None:
    put_caption(home, str(photos / "0" / "0.jpg"), "said of it")
    other = tmp_path / "other"
    other.mkdir()
    picture(other / "first.jpg", 50)
    run_index(home, [other])
    photos.rename(photos.with_name("aside"))
    run_index(home)
    shutil.copy2(photos.with_name("aside") / "0" / "0.jpg", other / "copy.jpg")
    assert run_index(home).added == 1
    (other / "copy.jpg").unlink()
    run_index(home, [], IndexOptions(grace=-1, confirm_removals=True))
    assert engine.search(Request(limit=100)).total == 11
    photos.with_name("aside").rename(photos)
    report = run_index(home)
    assert (report.unchanged, report.embedded) == (11, 0)
    assert [hit.caption for hit in engine.search(Request("said", mode="words")).hits] == ["said of it"]


def test_of_a_library_that_was_renamed_what_went_meanwhile_is_forgotten(
    home: Home, photos: Path, engine: Engine
) -> None:
    renamed = photos.with_name("renamed")
    photos.rename(renamed)
    for file in sorted(renamed.rglob("*.jpg"))[:2]:
        file.unlink()
    report = run_index(home, [renamed])
    assert (report.moved, report.added, report.removed, report.missing) == (8, 0, 2, 0)
    assert engine.search(Request(limit=100)).total == 8
