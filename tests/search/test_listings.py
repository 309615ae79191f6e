"""Pages of one answer are of the same hits, whatever is written to the index between them."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from support import picture, save_checkpoint

from indexer.report import IndexOptions
from indexer.run import run_index
from search import listings
from search.answer import Answer
from search.catalog import changes, words
from search.catalog.connection import connect_to_write
from search.engine import Engine, Request
from search.home import Home

pytestmark = pytest.mark.usefixtures("loaded_once")

PHOTOS = 23
TEAL = Image.new("RGB", (64, 64), "teal")
REQUESTS = {
    "newest": Request(),
    "filtered": Request("type:jpg"),
    "meaning": Request("a dog", mode="meaning"),
    "everything": Request("a dog", mode="meaning", include_all=True),
    "words": Request("photo", mode="words"),
    "both": Request("a photo", include_all=True),
    "picture": Request(images=(TEAL,)),
    "by date": Request("a photo", sort="date", include_all=True),
    "collapsed": Request("a photo", include_all=True, collapse=True),
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def library(tmp_path: Path, home: Home, checkpoint: str) -> Path:
    """The folder of an indexed library of small pictures, one of them twice."""
    folder = tmp_path / "library"
    folder.mkdir()
    for number in range(PHOTOS - 1):
        picture(folder / f"photo_{number:03}.jpg", number)
    with Image.open(folder / "photo_000.jpg") as first:
        first.save(folder / "photo_copy.jpg", quality=95)
    run_index(home, [folder], IndexOptions(model=checkpoint, captions="off"))
    return folder


@pytest.fixture
def engine(home: Home, library: Path) -> Iterator[Engine]:
    with Engine.open(home) as engine:
        yield engine


def write(home: Home, library: Path) -> str:
    """Add some photos, and delete one; returns its name."""
    gone = sorted(library.iterdir())[PHOTOS // 2]
    gone.unlink()
    for number in range(1000, 1010):
        picture(library / f"photo_{number}.jpg", number)
    run_index(home)
    return gone.name


def shown(answers: list[Answer]) -> list[str]:
    return [photo for answer in answers for hit in answer.hits for photo in (hit.id, *hit.others)]


def pages(engine: Engine, request: Request, between: Callable[[], object] = lambda: None) -> list[Answer]:
    """All pages of four hits, each naming the listing of the one before; `between` happens after the first."""
    answers = [engine.search(replace(request, limit=4))]
    between()
    while len(answers) * 4 < answers[0].total:
        answers.append(engine.search(replace(request, limit=4, offset=4 * len(answers), listing=answers[-1].listing)))
    return answers


@pytest.mark.parametrize("kind", REQUESTS)
def test_pages_are_of_one_state_while_the_index_is_written(
    engine: Engine, home: Home, library: Path, kind: str
) -> None:
    request = REQUESTS[kind]
    names = {hit.id: Path(hit.path).name for hit in engine.search(Request(limit=100)).hits}
    whole = engine.search(replace(request, limit=100))
    deleted: list[str] = []
    answers = pages(engine, request, lambda: deleted.append(write(home, library)))
    expected = [photo for photo in shown([whole]) if names[photo] not in deleted or photo in shown(answers[:1])]
    assert shown(answers) == expected and len(set(expected)) == len(expected) > 4
    assert len({(answer.total, answer.collapsed, answer.left_out, answer.listing) for answer in answers}) == 1
    anew = engine.search(replace(request, limit=100))
    assert anew.listing != whole.listing and set(shown([anew])) != set(expected)


def test_a_writer_that_never_rests_moves_nothing(engine: Engine, home: Home, library: Path) -> None:
    ended = threading.Event()

    def keep_writing() -> None:
        connection = connect_to_write(home)
        for number in range(10_000):
            if ended.is_set():
                break
            with connection:  # the order of the newest and what words find change with each commit
                connection.execute("UPDATE photos SET sort_at = ? WHERE key = ?", (str(number), number % PHOTOS + 1))
                connection.execute("UPDATE settings SET value = value + 1 WHERE name = 'revision'")
        connection.close()

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        for kind in ("newest", "by date", "words", "everything") * 3:
            found = shown(pages(engine, REQUESTS[kind]))
            assert len(found) == len(set(found)) == PHOTOS
    finally:
        ended.set()
        writer.join()


def test_one_answer_is_of_one_commit(
    engine: Engine, home: Home, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written after the vectors were taken is not seen by words, filters and dates either."""
    before = engine.search(Request("photo type:jpg", mode="words", limit=100))
    asked = words.written

    def written(*arguments: object) -> list[int]:
        connection = connect_to_write(home)
        with connection:
            keys = [row[0] for row in connection.execute("SELECT key FROM photos")]
            connection.execute("DELETE FROM files")
            changes.mark_orphans(connection, keys)
            connection.execute("UPDATE settings SET value = value + 1 WHERE name = 'revision'")
        connection.close()
        return asked(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(words, "written", written)
    answer = engine.search(Request("photo type:jpg", mode="words", limit=100))
    assert [hit.id for hit in answer.hits] == [hit.id for hit in before.hits] and answer.total == PHOTOS
    monkeypatch.undo()
    assert engine.search(Request("photo type:jpg", mode="words", limit=100)).total == 0


def test_a_listing_is_of_its_own_request_alone(engine: Engine) -> None:
    listing = engine.search(REQUESTS["picture"]).listing
    for other in (
        replace(REQUESTS["picture"], images=(Image.new("RGB", (64, 64), "red"),)),
        replace(REQUESTS["picture"], collapse=True),
        Request("a dog", images=(TEAL,)),
    ):
        expected = engine.search(other)
        answer = engine.search(replace(other, listing=listing))
        assert answer.hits == expected.hits and answer.listing not in (listing, expected.listing)
    again = engine.search(replace(REQUESTS["picture"], images=(TEAL.copy(),), limit=3, listing=listing))
    assert again.listing == listing and len(again.hits) == 3


@pytest.mark.parametrize("listing", ["", "0" * 16, "no such thing"])
def test_an_unknown_listing_is_answered_from_now(engine: Engine, listing: str) -> None:
    answer = engine.search(Request(limit=5, offset=5, listing=listing))
    assert len(answer.hits) == 5 and answer.listing not in (None, listing)


def test_only_the_last_listings_are_kept(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listings, "KEPT", 3)
    first, *others = (engine.search(Request(limit=1)).listing for _ in range(3))
    assert engine.search(Request(limit=1, offset=1, listing=first)).listing == first  # used last
    engine.search(Request(limit=1))
    kept = [engine.search(Request(limit=1, listing=one)).listing == one for one in (first, others[1], others[0])]
    assert kept == [True, True, False]


def test_what_lies_too_deep_is_not_kept(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.answering.DEPTH", 10)
    monkeypatch.setattr("search.retrieval.DEPTH", 10)
    for request in (REQUESTS["newest"], REQUESTS["everything"], replace(REQUESTS["everything"], collapse=True)):
        whole = engine.search(replace(request, limit=100))
        listing = engine.search(replace(request, limit=5)).listing
        shallow = engine.search(replace(request, limit=5, offset=5, listing=listing))
        deep = engine.search(replace(request, limit=5, offset=8, listing=listing))
        assert shallow.listing == listing and (deep.listing is None or request.collapse)
        assert shallow.total == deep.total == whole.total
        assert shallow.hits == whole.hits[5:10] and deep.hits == whole.hits[8:13]


def test_a_home_that_is_made_anew_has_no_listings(engine: Engine, home: Home, library: Path, checkpoint: str) -> None:
    listing = engine.search(Request(limit=100)).listing
    shutil.rmtree(home.path)
    (library / "photo_000.jpg").unlink()
    run_index(home, [library], IndexOptions(model=checkpoint, captions="off"))
    answer = engine.search(Request(limit=100, listing=listing))
    assert answer.listing != listing and answer.total == len(answer.hits) == PHOTOS - 1
