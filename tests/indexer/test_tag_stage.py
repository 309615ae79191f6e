"""Tags and kinds in a run: from stored embeddings alone, resumed, and made anew only where something is another."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support import as_version, photo_files, picture

from indexer.progress import Silent
from indexer.report import IndexOptions, IndexReport
from indexer.run import run_index
from indexer.tag import PhotoTagging
from search.answer import Request
from search.catalog.connection import connect_to_read
from search.engine import Engine
from search.errors import QueryError, SightlineError
from search.home import Home

pytestmark = pytest.mark.usefixtures("loaded_once")


def index(home: Home, *folders: Path, **options: Any) -> IndexReport:
    return run_index(home, folders, IndexOptions(model="starter", captions="off", **options))


def tags(home: Home) -> dict[str, dict[str, float]]:
    """Of each file, by its name."""
    with closing(connect_to_read(home)) as connection:
        found: dict[str, dict[str, float]] = {
            os.fsdecode(name): {} for (name,) in connection.execute("SELECT name FROM files")
        }
        for name, tag, score in connection.execute(
            "SELECT name, tag, score FROM tags JOIN files USING (photo_key) ORDER BY score DESC"
        ):
            found[os.fsdecode(name)][tag] = score
        return found


def kinds(home: Home) -> dict[str, str]:
    with closing(connect_to_read(home)) as connection:
        rows = connection.execute("SELECT name, kind FROM files JOIN photos ON photos.key = photo_key")
        return {os.fsdecode(name): kind for name, kind in rows}


def found(home: Home, text: str, mode: str = "auto") -> set[str]:
    with Engine.open(home) as engine:
        return {Path(hit.path).name for hit in engine.search(Request(text, mode=mode, limit=100)).hits}


@pytest.fixture
def photos(library: Path) -> Path:
    for file in photo_files():
        if file.stem == "chelsea":
            shutil.copy(file, library)
    return library


def test_photos_are_tagged_with_what_they_show_and_found_by_it(home: Home, photos: Path) -> None:
    report = index(home, photos)
    assert report.tagged == len(tags(home)) >= 8
    assert {"animal", "cat"} <= set(tags(home)["chelsea.png"])
    assert found(home, "tag:cat") == {"chelsea.png"}
    assert found(home, "tag:Cats") == {"chelsea.png"}
    assert "chelsea.png" in found(home, "tag:animal") & found(home, 'tag:animals tag:"house cats"')
    assert "chelsea.png" not in found(home, "-tag:cat") != set()
    assert found(home, "tag:unheard-of") == set()
    assert "chelsea.png" not in found(home, "-cats") != set()
    assert found(home, '"animal cat"') == set()  # two tags side by side are nobody's words
    assert found(home, "cat", mode="words") == {"chelsea.png"}


def test_whoever_asks_for_what_is_broader_finds_what_is_narrower(home: Home, photos: Path) -> None:
    index(home, photos)
    with closing(connect_to_read(home)) as connection:
        names = {row[0] for row in connection.execute("SELECT name FROM tag_names WHERE tag = 'poodle'")}
    assert {"poodle", "dog", "animal"} <= names


def test_a_run_without_news_tags_nothing(home: Home, photos: Path) -> None:
    index(home, photos)
    before = tags(home)
    (photos / "more").mkdir()
    picture(photos / "more" / "new.jpg", 1)
    os.utime(photos / "more" / "new.jpg", (1e9, 1e9))  # one that may still be written to is read again
    report = index(home)
    assert report.tagged == 1
    assert {name: found for name, found in tags(home).items() if name != "new.jpg"} == before
    idle = index(home)
    assert idle.tagged == 0
    assert {"vocabulary", "tags", "load"}.isdisjoint(idle.stages)


def test_photos_are_tagged_anew_without_being_opened(home: Home, photos: Path, tmp_path: Path) -> None:
    index(home, photos)
    for file in photos.iterdir():
        file.chmod(0)  # and where permissions mean nothing, as to root, the content below speaks
        status = file.stat()
        file.write_bytes(b"x" * status.st_size)
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    own = tmp_path / "own.txt"
    own.write_text("our own tabby: a cat looking into the camera\n")
    report = index(home, concepts=str(own))
    assert report.tagged == len(tags(home))
    assert report.embedded == 0
    assert "our own tabby" in tags(home)["chelsea.png"]


def test_own_concepts_are_remembered_until_off(
    home: Home, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "own.txt"
    own.write_text("tabby: a cat looking into the camera\n")
    index(home, photos, concepts="own.txt")
    assert "tabby" in tags(home)["chelsea.png"]
    monkeypatch.chdir(photos)
    assert index(home).tagged == 0
    own.write_text("tomcat: a cat looking into the camera\n")
    assert index(home).tagged == len(tags(home))
    assert {"tomcat"} == {"tomcat", "tabby"} & set(tags(home)["chelsea.png"])
    assert found(home, 'tag:"Tomcats"') == {"chelsea.png"}
    index(home, concepts="off")
    assert "tomcat" not in tags(home)["chelsea.png"]
    assert found(home, 'tag:"Tomcats"') == set()


def test_own_concepts_that_cannot_be_read_leave_tags_as_they_are(home: Home, photos: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text("tabby: a cat looking into the camera\n")
    index(home, photos, concepts=str(own))
    before = tags(home)
    own.write_text("[tabby\n")
    picture(photos / "new.jpg", 1)
    (sentence,) = index(home).waits
    assert "own.txt, line 1: the name of a group ends with ]" in sentence
    assert "--concepts" in sentence
    assert {name: found for name, found in tags(home).items() if name != "new.jpg"} == before
    own.unlink()
    (sentence,) = index(home).waits
    assert "No such file" in sentence
    index(home, concepts="off")
    assert "tabby" not in tags(home)["chelsea.png"]


@pytest.mark.parametrize("name", ["", "a\nb.txt", "caf\udce9.txt"])
def test_a_file_that_cannot_be_named_is_refused(home: Home, photos: Path, name: str) -> None:
    with pytest.raises(SightlineError):
        index(home, photos, concepts=name)


@pytest.mark.parametrize("text", [None, "x" * 100, "poodle < no such thing"])
def test_a_file_that_is_no_vocabulary_is_refused_before_anything_is_read(
    home: Home, photos: Path, tmp_path: Path, text: str | None
) -> None:
    own = tmp_path / "own.txt"
    if text:
        own.write_text(text)
    with pytest.raises(SightlineError, match=r"own\.txt"):
        index(home, photos, concepts=str(own))
    assert tags(home) == {}


def test_tagging_goes_on_where_it_was_cut_off(home: Home, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.tag.GROUP_PHOTOS", 3)

    class Impatient(Silent):
        def advance(self, done: int, failed: int) -> None:
            if self.at == "tags":
                raise KeyboardInterrupt

        def stage(self, name: str, total: int | None) -> None:
            self.at = name

    with pytest.raises(KeyboardInterrupt):
        run_index(home, [photos], IndexOptions(model="starter", captions="off"), Impatient())
    with closing(connect_to_read(home)) as connection:
        (done,) = connection.execute("SELECT count(*) FROM descriptions WHERE stage = 'tags'").fetchone()
    assert done == 3
    assert index(home).tagged == len(tags(home)) - 3
    at_once = Home(home.path.with_name("other"))
    index(at_once, photos)
    assert tags(home) == tags(at_once)


def test_a_library_that_doubles_is_measured_and_tagged_anew(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(3):
        picture(folder / f"{seed}.jpg", seed)
    assert index(home, folder).tagged == 3
    for seed in range(3, 6):
        picture(folder / f"{seed}.jpg", seed)
    assert index(home).tagged == 3
    picture(folder / "6.jpg", 6)
    assert index(home).tagged == 7


def test_another_model_tags_anew(home: Home, photos: Path, tiny_checkpoint: Any) -> None:
    index(home, photos)
    report = run_index(home, [], IndexOptions(model=tiny_checkpoint(), captions="off"))
    assert report.tagged == len(tags(home))
    assert index(home).tagged == len(tags(home))  # back again: what was usual is known still, but tags are the other's


def test_kinds_are_filters_of_their_own(home: Home, photos: Path) -> None:
    page = Image.new("RGB", (1170, 2532), "white")
    for line in range(20):
        page.paste("black", (60, 120 * line + 40, 900 - 23 * line, 120 * line + 70))
    page.save(photos / "screen.png")
    index(home, photos)
    assert kinds(home)["screen.png"] == "screenshot"
    assert {kind for name, kind in kinds(home).items() if name != "screen.png"} == {"photo"}
    assert found(home, "is:screenshot") == {"screen.png"} == found(home, "-is:photo")
    assert found(home, "is:Photo") == set(kinds(home)) - {"screen.png"}
    with pytest.raises(QueryError, match="No photo is a “selfie”; ask for one of photo, screenshot"):
        found(home, "is:selfie")


def test_status_says_how_far_tagging_is(home: Home, photos: Path) -> None:
    index(home, photos)
    with Engine.open(home) as engine:
        described = engine.status()["described"]["tags"]
    assert described == {"described": len(tags(home)), "failed": 0, "waiting": 0}


def test_photos_of_before_there_were_tags_get_theirs_without_being_opened(home: Home, photos: Path) -> None:
    """As an index of version 2 has them: neither tags nor calibrations, and no flatness."""
    index(home, photos)
    before = tags(home)
    further = ("UPDATE photos SET kind = NULL", "DELETE FROM tags", "DELETE FROM descriptions")
    as_version(home.catalog_path, 2, *further)
    report = index(home)
    assert (report.tagged, report.embedded) == (len(before), 0)
    assert tags(home) == before
    assert set(kinds(home).values()) == {"photo"}


def test_own_synonyms_are_asked_for_and_follow_the_model(
    home: Home, photos: Path, tmp_path: Path, tiny_checkpoint: Any
) -> None:
    own = tmp_path / "own.txt"
    own.write_text("tabby: a cat looking into the camera\n")
    index(home, photos, concepts=str(own))
    asked = 'tag:"a cat looking into the camera"'
    assert found(home, asked) == {"chelsea.png"}
    run_index(home, [], IndexOptions(model=tiny_checkpoint(), captions="off", concepts="off"))
    assert found(home, asked) == set()
    index(home, concepts=str(own))
    assert found(home, asked) == {"chelsea.png"}


def test_what_is_added_to_a_shipped_tag_leaves_the_others_as_they_are(home: Home, photos: Path, tmp_path: Path) -> None:
    index(home, photos)
    before = tags(home)
    own = tmp_path / "own.txt"
    own.write_text("motorcycle: our old machine\n")
    index(home, concepts=str(own))
    of_others = [(name, own_tags) for name, own_tags in before.items() if "vehicle" not in own_tags]
    assert {name: set(tags(home)[name]) for name, _ in of_others} == {name: set(some) for name, some in of_others}


def test_tags_wait_where_the_model_cannot_be_loaded(
    home: Home, photos: Path, tmp_path: Path, tiny_checkpoint: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLINE_RUNTIME", "pytorch")  # a conversion of the weights as they were would do
    name = tiny_checkpoint()
    run_index(home, [photos], IndexOptions(model=name, captions="off"))
    before = tags(home)
    own = tmp_path / "own.txt"
    own.write_text("tabby\n")
    weights = tmp_path / "checkpoint" / "open_clip_model.safetensors"
    status = weights.stat()
    weights.write_bytes(b"x" * status.st_size)
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
    report = run_index(home, [], IndexOptions(captions="off", concepts=str(own)))
    assert tags(home) == before
    assert any(sentence.startswith("Tags wait for the model.") for sentence in report.waits)


def test_what_waits_can_be_asked_without_reading_the_vocabulary(home: Home, photos: Path) -> None:
    index(home, photos)
    import sqlite_utils

    from search.catalog import model_records

    with closing(connect_to_read(home)) as connection:
        model = model_records.active(connection)
        assert model is not None
        assert PhotoTagging(sqlite_utils.Database(connection), model).waiting == 0
