"""Captions and text in pictures in a run: remembered, resumed, never a person's own, and no reason for it to fail."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageFont
from support import picture

from indexer.describe.choice import canonical_name
from indexer.progress import Silent
from indexer.report import IndexOptions, IndexReport
from indexer.run import run_index
from search.answer import Request
from search.catalog import failures
from search.catalog.connection import connect_to_read
from search.catalog.editing import put_caption
from search.engine import Engine
from search.errors import CatalogError, ModelError, SightlineError, UnknownPhotoError
from search.home import Home

pytestmark = pytest.mark.usefixtures("loaded_once")

PHOTOS = 5


class Listening(Silent):
    """Remembers what a run said and which stages it went through."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.stages: list[str] = []

    def say(self, sentence: str) -> None:
        self.said.append(sentence)

    def stage(self, name: str, total: int | None) -> None:
        self.stages.append(name)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(PHOTOS):
        picture(folder / f"{seed}.jpg", seed)
    return folder


def index(home: Home, photos: Path | None = None, **options: Any) -> tuple[IndexReport, Listening]:
    listening = Listening()
    report = run_index(home, [photos] if photos else [], IndexOptions(model="starter", **options), listening)
    return report, listening


def captions(home: Home) -> dict[str, tuple[str, str]]:
    with closing(connect_to_read(home)) as connection:
        return {
            row[0]: row[1:]
            for row in connection.execute("SELECT id, author, text FROM captions JOIN photos ON key = photo_key")
        }


def status(home: Home) -> dict[str, Any]:
    with Engine.open(home) as engine:
        return engine.status()


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("SIGHTLINE_OPENAI_URL", f"http://127.0.0.1:{taken.getsockname()[1]}/v1")


def test_the_built_in_captioner_writes_unless_told_otherwise(home: Home, photos: Path) -> None:
    report, heard = index(home, photos)
    assert report.captioned == PHOTOS and report.waits == [] and heard.stages[-1] == "captions"
    written = captions(home)
    assert len(written) == PHOTOS and {author for author, _ in written.values()} == {canonical_name("starter")}
    word = max(next(iter(written.values()))[1].split(), key=len)
    with Engine.open(home) as engine:
        found = engine.search(Request(word, mode="words"))
    assert any(word.lower() in (hit.caption or "").lower() for hit in found.hits)
    assert status(home)["described"]["captions"] == {"described": PHOTOS, "failed": 0, "waiting": 0}

    again, heard = index(home)
    assert again.captioned == 0 and "captions" not in heard.stages


def test_captions_stay_off_until_they_are_wanted(home: Home, photos: Path) -> None:
    assert index(home, photos, captions="off")[0].captioned == 0
    assert index(home)[0].captioned == 0 and status(home)["captions"] == "off"
    assert status(home)["described"]["captions"] == {"described": 0, "failed": 0, "waiting": 0}
    assert index(home, captions="starter")[0].captioned == PHOTOS


def test_what_a_person_says_is_shown_searched_and_never_overwritten(home: Home, photos: Path) -> None:
    index(home, photos, captions="off")
    own = put_caption(home, str(photos / "3.jpg"), "  Grandma's\n birthday ")
    assert own.caption == "Grandma's birthday" and own.caption_by == "you"
    index(home, captions="starter")
    with Engine.open(home) as engine:
        hit = engine.search(Request("birthday", mode="words")).hits[0]
        assert hit.id == own.id and hit.caption == "Grandma's birthday"
    assert captions(home)[own.id]  # the captioner's is kept beside it
    back = put_caption(home, own.id, "")
    assert back.caption_by == canonical_name("starter") and back.caption != "Grandma's birthday"
    with Engine.open(home) as engine:
        assert engine.search(Request("birthday", mode="words")).total == 0


def test_own_caption_goes_along_when_another_program_writes_into_the_file(home: Home, photos: Path) -> None:
    for name in ("copied", "rated"):
        picture(photos / f"{name}.jpg", PHOTOS + len(name))
    shutil.copy(photos / "copied.jpg", photos / "copy.jpg")
    index(home, photos, captions="off")
    put_caption(home, str(photos / "rated.jpg"), "Grandma at the lake")
    put_caption(home, str(photos / "copied.jpg"), "Grandpa at the lake")
    for name in ("copied", "rated"):
        with open(photos / f"{name}.jpg", "ab") as file:
            file.write(b"rating 5")
    assert index(home)[0].updated == 2
    with Engine.open(home) as engine:
        hits = engine.search(Request("lake", mode="words")).hits
        assert {Path(hit.path).name: hit.caption for hit in hits} == {
            "rated.jpg": "Grandma at the lake",
            "copy.jpg": "Grandpa at the lake",  # its photo is still there, and so is what was said of it
        }


def test_own_caption_of_a_photo_taken_at_another_time_stays_with_it(home: Home, photos: Path) -> None:
    for year in ("2020", "2021"):
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9003] = f"{year}:01:01 00:00:00"
        Image.new("RGB", (64, 48), "red" if year == "2020" else "blue").save(photos / "IMG_0001.jpg", exif=exif)
        index(home, photos, captions="off")
        if year == "2020":
            put_caption(home, str(photos / "IMG_0001.jpg"), "New year")
    with Engine.open(home) as engine:
        assert engine.search(Request("year", mode="words")).total == 0


def test_photo_is_read_from_a_copy_where_its_first_file_is_away(home: Home, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "copies")
    run_index(home, [photos, tmp_path / "copies"], IndexOptions(model="starter", captions="off"))
    photos.rename(tmp_path / "away")
    (tmp_path / "copies" / "0.jpg").unlink()
    report, heard = index(home, tmp_path / "copies", captions="starter")
    assert report.captioned == PHOTOS - 1
    assert len(report.waits) == 1 and report.waits[0].startswith("1 photo waits for captions")
    report, heard = index(home, tmp_path / "copies")
    assert len(report.waits) == 1 and "captions" not in heard.stages, "no captioner is loaded for nothing"


def test_folder_of_weights_is_remembered_wherever_later_runs_start(
    home: Home, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    index(home, photos, captions=" blip:./weights ")
    assert status(home)["captions"] == f"blip:{tmp_path / 'weights'}"


def test_own_caption_needs_a_photo_an_index_and_a_bound(home: Home, photos: Path) -> None:
    with pytest.raises(CatalogError, match="There is no index"):
        put_caption(home, "x", "y")
    index(home, photos, captions="off")
    with pytest.raises(UnknownPhotoError, match=r"nothing\.jpg"):
        put_caption(home, str(photos / "nothing.jpg"), "y")
    with pytest.raises(SightlineError, match="at most 2000"):
        put_caption(home, str(photos / "0.jpg"), "y" * 2001)


def test_own_caption_waits_for_a_writer_and_not_for_its_run(home: Home, photos: Path) -> None:
    """The run holds its lock all the while; SQLite is only written to now and then."""
    index(home, photos, captions="off")
    from indexer.lock import writer_lock

    with writer_lock(home), closing(sqlite3.connect(home.catalog_path, check_same_thread=False)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE settings SET value = value + 1 WHERE name = 'revision'")
        later = threading.Timer(0.5, writer.commit)
        later.start()
        assert put_caption(home, str(photos / "0.jpg"), "now").caption == "now"
        later.join()


def test_own_caption_loses_what_cannot_be_seen(home: Home, photos: Path) -> None:
    index(home, photos, captions="off")
    for typed, kept in (
        ("a\x00b\x02c\nd", "a b c d"),
        ("an \u202eelpmaxe\u202c", "an elpmaxe"),
        ("half \ud83d of one", "half ? of one"),
        ("👩\u200d🚀 نامه\u200cای", "👩\u200d🚀 نامه\u200cای"),
    ):
        assert put_caption(home, str(photos / "0.jpg"), typed).caption == kept


def test_words_that_an_earlier_version_wrote_are_written_anew(home: Home, photos: Path) -> None:
    index(home, photos, captions="off")
    with closing(sqlite3.connect(home.catalog_path)) as connection, connection:
        connection.execute("DELETE FROM words")
        connection.execute("UPDATE settings SET value = '2' WHERE name = 'words_form'")
    assert "words" in index(home)[1].stages
    with Engine.open(home) as engine:
        assert engine.search(Request('"3.jpg"', mode="words")).total == 1
    assert "words" not in index(home)[1].stages


def test_unknown_captioner_is_refused_before_anything_is_read(home: Home, photos: Path) -> None:
    with pytest.raises(ModelError, match="There is no captioner “nobody”"):
        index(home, photos, captions="nobody")
    assert not home.catalog_path.exists()


@pytest.mark.usefixtures("nobody")
def test_endpoint_that_is_down_leaves_the_stage_for_later_and_says_so(
    home: Home, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indexer.describe.openai._TRIES", 1)
    report, heard = index(home, photos, captions="openai:llava")
    assert report.embedded == PHOTOS and report.captioned == 0 and len(report.waits) == 1
    assert "does not answer" in report.waits[0] and report.waits[0] in heard.said
    assert any("your pictures leave it" in sentence for sentence in heard.said)
    state = status(home)
    assert state["jobs"][0]["state"] == "done" and state["jobs"][0]["message"] == report.waits[0]
    assert state["described"]["captions"] == {"described": 0, "failed": 0, "waiting": PHOTOS}
    assert index(home, captions="starter")[0].captioned == PHOTOS


@pytest.mark.usefixtures("nobody")
def test_dry_run_tells_what_would_leave_the_machine_and_sends_nothing(home: Home, photos: Path) -> None:
    report, heard = index(home, photos, captions="openai:llava", captions_dry_run=True)
    assert report.embedded == PHOTOS and report.waits == [] and "captions" in heard.stages
    assert any(f"{PHOTOS} photos would be sent to 127.0.0.1" in sentence for sentence in heard.said)
    assert status(home)["captions"] == "starter"  # and nothing is remembered
    with pytest.raises(SightlineError, match="dry run"):
        index(home, captions="starter", captions_dry_run=True)


def test_missing_captioner_waits_and_the_photos_are_found_all_the_same(
    home: Home, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    report, _ = index(home, photos, captions="blip:nobody/no-such-model")
    assert report.embedded == PHOTOS and "nobody/no-such-model is not on this machine" in report.waits[0]


def test_text_in_pictures_is_found_by_a_part_of_it(home: Home, photos: Path) -> None:
    sign = Image.new("RGB", (900, 300), "white")
    ImageDraw.Draw(sign).text((60, 90), "RE16 TGK", fill="black", font=ImageFont.load_default(90))
    sign.save(photos / "sign.jpg", quality=95)
    report, heard = index(home, photos, captions="off")
    assert report.texts_read == 0 and status(home)["ocr"] is False

    report, heard = index(home, ocr=True)
    assert report.texts_read == PHOTOS + 1 and "text" in heard.stages and "embed" not in heard.stages
    with Engine.open(home) as engine:
        for asked in ("RE16", "e16", '"16 TG"'):
            hits = engine.search(Request(asked, mode="words")).hits
            assert [Path(hit.path).name for hit in hits] == ["sign.jpg"], asked
        photo = engine.photo(hits[0].id)
        assert photo is not None
        (line,) = engine.text_lines(photo)
    assert line.text == "RE16 TGK" and line.box[0] < 0.2 < 0.5 < line.box[2] and line.confidence > 0.7
    assert index(home)[0].texts_read == 0 and status(home)["ocr"] is True  # remembered, and done


def test_photo_whose_text_cannot_be_read_is_named_and_the_others_are_read(
    home: Home, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from indexer.describe.text import TextReader
    from search.errors import PhotoError

    real = TextReader.read

    def fails(self: TextReader, image: Image.Image) -> Any:
        if image.width == 32:
            raise PhotoError("its text cannot be read (bad box)")
        return real(self, image)

    picture(photos / "odd.jpg", 9, size=(32, 24))
    monkeypatch.setattr(TextReader, "read", fails)
    report, _ = index(home, photos, captions="off", ocr=True)
    assert report.texts_read == PHOTOS and report.not_described == 1
    with closing(connect_to_read(home)) as connection:
        (failure,) = failures.page(connection)
    assert failure["stage"] == "text" and failure["reason"] == "its text cannot be read (bad box)"


def test_text_of_another_reader_takes_the_place_of_the_one_before(
    home: Home, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ImageDraw.Draw(sign := Image.new("RGB", (900, 300), "white")).text(
        (60, 90), "RE16 TGK", fill="black", font=ImageFont.load_default(90)
    )
    sign.save(photos / "sign.jpg", quality=95)
    index(home, photos, captions="off", ocr=True)
    monkeypatch.setattr("indexer.describe.text.READER", "rapidocr:another")
    assert index(home)[0].texts_read == PHOTOS + 1


def test_photo_that_cannot_be_described_is_named_with_the_reason(
    home: Home, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from indexer.describe.starter import StarterCaptioner

    real = StarterCaptioner.caption

    def fails(self: StarterCaptioner, images: list[Image.Image]) -> Any:
        if any(image.width == 32 for image in images):
            raise RuntimeError("odd stride")
        return real(self, images)

    picture(photos / "odd.jpg", 9, size=(32, 24))
    monkeypatch.setattr(StarterCaptioner, "caption", fails)
    report, _ = index(home, photos)
    assert report.captioned == PHOTOS and report.not_described == 1 and report.failed == 0
    with closing(connect_to_read(home)) as connection:
        (failure,) = failures.page(connection)
    assert failure["path"].endswith("odd.jpg") and failure["stage"] == "captions" and "odd stride" in failure["reason"]
    assert index(home)[0].not_described == 0
    index(home, captions="off")
    with closing(connect_to_read(home)) as connection:
        assert failures.page(connection) == []  # of a stage that nobody wants
