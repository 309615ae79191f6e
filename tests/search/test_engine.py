from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexer.demo import gather_samples
from indexer.report import IndexOptions
from indexer.run import run_index
from search.catalog import words
from search.catalog.connection import Reader, connect_to_write
from search.engine import Engine, Request
from search.errors import CatalogError, QueryError, UnknownPhotoError
from search.home import Home
from search.models import encoder
from search.query import parse
from search.questions import ahead_of

pytestmark = pytest.mark.usefixtures("loaded_once")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine over the sample photos, with captions for three of them."""
    root = tmp_path_factory.mktemp("engine")
    gather_samples(root / "library")
    (root / "library" / "holidays").mkdir()
    shutil.copy(root / "library" / "flower.jpg", root / "library" / "holidays" / "again.jpg")
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0132] = "Canon", "Canon EOS 80D", "2021:06:30 18:00:00"
    Image.new("RGB", (40, 60), "teal").save(root / "library" / "holidays" / "IMG_7.jpg", exif=exif)
    home = Home(root / "home")
    run_index(home, [root / "library"], IndexOptions(model="starter", captions="off"))
    connection = connect_to_write(home)
    with connection:
        for name, author, text in (
            (b"chelsea.png", "you", "A ginger cat on a blanket."),
            (b"coffee.png", "you", "A cup of coffee, no cat."),
            (b"rocket.jpg", "starter", "The rocket mg_7"),
        ):
            key = connection.execute("SELECT photo_key FROM files WHERE name = ?", (name,)).fetchone()[0]
            connection.execute("INSERT INTO captions VALUES (?, ?, ?, '2021-01-01')", (key, author, text))
            words.refresh(connection, [key])
    connection.close()
    with Engine.open(home) as engine:
        yield engine


def names(engine: Engine, text: str = "", **options: object) -> list[str]:
    return [Path(hit.path).name for hit in engine.search(Request(text, **options)).hits]  # type: ignore[arg-type]


def test_a_text_finds_the_photo_by_meaning_and_says_so(engine: Engine) -> None:
    answer = engine.search(Request("a motorcycle", mode="meaning", limit=3, include_all=True))
    hit = answer.hits[0]
    assert Path(hit.path).name == "motorcycle_left.png"
    (why,) = hit.why
    assert (why.signal, why.rank, why.percentile) == ("meaning", 1, 100.0)
    assert why.similarity is not None and hit.score is not None and -1 < hit.score < why.similarity < 1
    assert answer.total == engine.status()["photos"] and answer.model == "starter"
    assert [one.score for one in answer.hits] == sorted((one.score for one in answer.hits), reverse=True)  # type: ignore[type-var]


def test_words_find_captions_and_names_and_mark_what_matched(engine: Engine) -> None:
    answer = engine.search(Request("cat", mode="words"))
    assert {Path(hit.path).name for hit in answer.hits} == {"chelsea.png", "coffee.png"} and answer.total == 2
    document = answer.hits[0].why[0].to_json()
    assert document["field"] == "caption" and {"text": "cat", "marked": True} in document["parts"]
    assert "".join(part["text"] for part in document["parts"]) == answer.hits[0].caption
    assert names(engine, "img_7", mode="words") == ["IMG_7.jpg"]
    assert names(engine, "ginger cat", mode="words") == ["chelsea.png"]


def test_words_give_their_rank_among_all_that_words_found_and_their_score(engine: Engine) -> None:
    """In an answer by words alone that is the place in it, whichever fields and lists brought a hit."""
    for text in ("mg_7", "cat coffee IMG_7"):
        hits = engine.search(Request(text, mode="words", include_all=True)).hits
        assert len(hits) > 1 and [{why.rank for why in hit.why} for hit in hits] == [
            {n} for n in range(1, len(hits) + 1)
        ]
        later = engine.search(Request(text, mode="words", include_all=True, limit=1, offset=len(hits) - 1)).hits
        assert later[0].why == hits[-1].why
    (hit,) = engine.search(Request("rocket", mode="words")).hits
    (score,) = words.ranked(engine._connection(), words.match_all(["rocket"]), "TRUE", ()).values()
    assert [why.field for why in hit.why] == ["caption", "name"]
    assert [why.bm25 for why in hit.why] == pytest.approx([score, score]) and score > 0  # the name alone has less
    assert hit.why[0].to_json()["bm25"] == pytest.approx(score, abs=1e-6)


def test_auto_brings_what_words_and_meaning_find_together(engine: Engine) -> None:
    hit = engine.search(Request("ginger cat")).hits[0]
    assert Path(hit.path).name == "chelsea.png" and {why.signal for why in hit.why} == {"meaning", "words"}


@pytest.mark.parametrize("text", ["a motorcycle", "a flower", "stars in the night sky", "a receipt"])
def test_an_answer_is_the_beginning_of_the_ranking_and_says_what_it_leaves_out(engine: Engine, text: str) -> None:
    everything = engine.search(Request(text, mode="meaning", limit=100, include_all=True))
    answer = engine.search(Request(text, mode="meaning", limit=100))
    assert everything.total == len(everything.hits) == engine.status()["photos"] and everything.left_out == 0
    assert [hit.id for hit in answer.hits] == [hit.id for hit in everything.hits if hit.relevant]
    assert [hit.relevant for hit in everything.hits] == sorted((h.relevant for h in everything.hits), reverse=True)
    assert answer.total == len(answer.hits) and answer.total + answer.left_out == everything.total
    assert answer.total < everything.total


def test_what_has_all_the_words_belongs_to_the_answer_and_what_has_some_does_not(engine: Engine) -> None:
    assert names(engine, "cup of coffee, no cat", mode="words") == ["coffee.png"]
    both = engine.search(Request("ginger coffee", mode="words", include_all=True)).hits
    assert {Path(hit.path).name for hit in both} == {"chelsea.png", "coffee.png"}
    assert not any(hit.relevant for hit in both) and names(engine, "ginger coffee", mode="words") == []


def test_reasons_tell_rank_and_percentile(engine: Engine) -> None:
    hits = engine.search(Request("a motorcycle", mode="meaning", limit=100, include_all=True)).hits
    reasons = [hit.why[0] for hit in hits]
    assert [why.rank for why in reasons] == list(range(1, len(hits) + 1))
    assert [why.percentile for why in reasons] == pytest.approx(np.linspace(100, 0, len(hits)).tolist())


def test_several_pictures_find_what_is_like_all_of_them(engine: Engine) -> None:
    ids = {Path(hit.path).name: hit.id for hit in engine.search(Request(limit=100)).hits}
    like = (ids["rocket.jpg"], ids["astronaut.png"])
    pictures = tuple(Image.open(engine_path(engine, photo)).convert("RGB") for photo in like)
    uploaded = engine.search(Request(images=pictures, limit=100)).hits
    assert {hit.id for hit in uploaded[:2]} == set(like)
    rest = [hit.id for hit in uploaded if hit.id not in like]
    assert [hit.id for hit in engine.search(Request(like=like, limit=100)).hits] == rest


def engine_path(engine: Engine, photo_id: str) -> str:
    photo = engine.photo(photo_id)
    assert photo is not None
    return photo.path


def test_negatives_turn_the_answer_away(engine: Engine) -> None:
    plain = names(engine, "a motorcycle", mode="meaning", include_all=True)
    turned = names(engine, "a motorcycle", negative="a motorcycle in a garage", mode="meaning", include_all=True)
    assert plain[0] == "motorcycle_left.png" and len(turned) == len(plain)
    scores = {Path(h.path).name: h.score for h in engine.search(Request("a garage -motorcycle", mode="meaning")).hits}
    assert "motorcycle_left.png" not in scores  # its file name says so
    assert names(engine, "cat -coffee", mode="words") == ["chelsea.png"]


def test_pictures_find_themselves_first_and_like_leaves_the_photo_out(engine: Engine) -> None:
    every = engine.search(Request(limit=100)).hits
    rocket = next(hit for hit in every if hit.path.endswith("rocket.jpg"))
    picture = Image.open(rocket.path).convert("RGB")
    answer = engine.search(Request(images=(picture,)))
    assert answer.hits[0].id == rocket.id and answer.hits[0].why[0].signal == "image"
    assert answer.hits[0].score == pytest.approx(1.0, abs=0.01)
    like = engine.search(Request(like=(rocket.id,), limit=100))
    assert rocket.id not in {hit.id for hit in like.hits} and like.total == len(every) - 1 == len(like.hits)
    both = engine.search(Request("a motorcycle", images=(picture,), mode="meaning"))
    assert {why.signal for why in both.hits[0].why} == {"meaning", "image"}
    alone = names(engine, images=(picture,)).index("motorcycle_left.png")
    assert [Path(hit.path).name for hit in both.hits].index("motorcycle_left.png") < alone


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("camera:canon", {"IMG_7.jpg"}),
        ("after:2021-06 before:2022", {"IMG_7.jpg"}),
        ("on:2021-07", set()),
        ("type:jpg camera:canon", {"IMG_7.jpg"}),
        ("folder:holidays", {"IMG_7.jpg", "flower.jpg"}),
        ("folder:holidays -camera:canon", {"flower.jpg"}),
        ("type:png -orientation:square", {"chelsea.png", "coffee.png", "motorcycle_left.png"}),
        ('"ginger cat"', {"chelsea.png"}),
        ("tag:nothing", set()),
        ("camera:100%", set()),
    ],
)
def test_filters_hold_before_ranking(engine: Engine, text: str, expected: set[str]) -> None:
    listed = engine.search(Request(text, mode="words" if text.startswith('"') else "auto"))
    assert {Path(hit.path).name for hit in listed.hits} == expected and listed.total == len(expected)
    ranked = engine.search(Request(f"a photo {text}", mode="meaning", include_all=True))
    assert {Path(hit.path).name for hit in ranked.hits} == expected and ranked.total == len(expected)


def test_no_query_lists_newest_first(engine: Engine) -> None:
    hits = engine.search(Request(limit=100)).hits
    assert len(hits) == engine.status()["photos"] and all(hit.score is None for hit in hits)


@pytest.mark.parametrize("text", ["a motorcycle", "cat", ""])
def test_pages_neither_overlap_nor_leave_out(engine: Engine, text: str) -> None:
    whole = engine.search(Request(text, limit=100))
    pages = [hit.id for at in range(0, whole.total, 4) for hit in engine.search(Request(text, limit=4, offset=at)).hits]
    assert pages == [hit.id for hit in whole.hits] and len(set(pages)) == whole.total
    assert engine.search(Request(text, offset=10_000_000)).hits == ()


def test_sorting_by_date_orders_by_date(engine: Engine) -> None:
    listed = [hit.id for hit in engine.search(Request(limit=100)).hits]
    request = Request("a photo", mode="meaning", sort="date", limit=100, include_all=True)
    assert [hit.id for hit in engine.search(request).hits] == listed


def test_the_order_of_dates_is_that_of_the_best_alone(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.retrieval.DATED_DEPTH", 5)
    picture = Image.new("RGB", (64, 64), "teal")
    for text in ("", "motorcycle"):  # which is found by its name too, so that lists are fused
        best = engine.search(Request(text, images=(picture,), limit=5))
        dated = engine.search(Request(text, images=(picture,), sort="date", limit=100))
        assert dated.total == 5 and {hit.id for hit in dated.hits} == {hit.id for hit in best.hits}


def test_the_order_of_dates_takes_all_that_words_find(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.retrieval.DATED_DEPTH", 1)
    assert set(names(engine, "cat", mode="words", sort="date")) == {"chelsea.png", "coffee.png"}


def test_pages_in_the_order_of_dates_are_of_the_same_hits(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.retrieval.DATED_DEPTH", 6)
    whole = engine.search(Request("a flower", mode="meaning", sort="date", include_all=True, limit=100))
    pages = [
        hit.id
        for at in range(0, 8, 2)
        for hit in engine.search(
            Request("a flower", mode="meaning", sort="date", include_all=True, limit=2, offset=at)
        ).hits
    ]
    assert len(pages) == whole.total == 6 and pages == [hit.id for hit in whole.hits]


def test_an_unwanted_text_may_be_as_long_as_a_query(engine: Engine) -> None:
    assert engine.search(Request("a photo", negative="x " * 1000, limit=1, include_all=True)).hits
    with pytest.raises(QueryError, match="2001 characters"):
        engine.search(Request("a photo", negative="x" * 2001))


@pytest.fixture
def one_photo(tmp_path: Path) -> Home:
    """A home whose index holds the one photo in the folder `photos` beside it."""
    home = Home(tmp_path / "home")
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (40, 60), "red").save(tmp_path / "photos" / "0.png")
    run_index(home, [tmp_path / "photos"], IndexOptions(model="starter", captions="off"))
    return home


def test_a_home_that_is_made_anew_is_seen(one_photo: Home, tmp_path: Path) -> None:
    with Engine.open(one_photo) as engine:
        assert engine.search(Request("a colour")).total == 1
        shutil.rmtree(one_photo.path)
        Image.new("RGB", (40, 60), "blue").save(tmp_path / "photos" / "1.png")
        run_index(one_photo, [tmp_path / "photos"], IndexOptions(model="starter", captions="off"))
        assert engine.search(Request("a colour")).total == 2


def test_a_late_thread_brings_nothing_back_of_a_home_that_was_made_anew(one_photo: Home, tmp_path: Path) -> None:
    """It found its own catalog current, and took its snapshot only after another thread had seen the new one."""
    request = Request("red", mode="meaning", include_all=True)
    with Engine.open(one_photo) as engine, ThreadPoolExecutor(1) as other:
        late = engine._connection()
        red = engine.search(request)
        shutil.rmtree(one_photo.path)
        Image.new("RGB", (40, 60), "blue").save(tmp_path / "photos" / "0.png")
        run_index(one_photo, [tmp_path / "photos"], IndexOptions(model="starter", captions="off"))
        blue = other.submit(engine.search, request).result()
        assert red.hits[0].score != blue.hits[0].score
        listing = engine._found(request, parse(request.text), late)
        token = engine._answering.listings.keep(request, listing)
        for asked in (request, replace(request, listing=token)):
            assert other.submit(engine.search, asked).result().hits == blue.hits


def test_a_reader_that_may_not_write_sees_later_commits(
    one_photo: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a reader opens the catalog as one that cannot change; here any reader is made to."""
    opened = Reader.open
    monkeypatch.setattr(Reader, "open", lambda home, immutable: opened(home, immutable=True))
    with Engine.open(one_photo) as engine:
        assert engine.search(Request("a colour")).total == 1
        Image.new("RGB", (40, 60), "blue").save(tmp_path / "photos" / "1.png")
        run_index(one_photo)
        assert engine.search(Request("a colour")).total == 2


@pytest.mark.parametrize("text", ["rocket", "rocket in the sky", '"rocket"', "a rocket -sky after:1900"])
def test_words_that_are_kept_find_what_asking_anew_does(
    engine: Engine, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = []
    with Engine.open(engine.home) as fresh:
        for seconds in (1e9, 0.0, 0.0):  # asked anew, read, kept
            monkeypatch.setattr("search.followed.SETTLED_SECONDS", seconds)
            answers.append(fresh.search(Request(text, mode="words", include_all=True, limit=100)).hits)
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize(
    "text", ["\x00", "\ud800", '"', "NEAR(a b)", "a AND", "(((", "*", "caption:cat", "'; DROP TABLE"]
)
@pytest.mark.parametrize("mode", ["auto", "words"])
def test_odd_text_is_only_text(engine: Engine, text: str, mode: str) -> None:
    engine.search(Request(text, mode=mode))


def test_what_cannot_be_asked_is_said(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(UnknownPhotoError):
        engine.search(Request(like=("0" * 32,)))
    for request in (Request(mode="magic"), Request(sort="size"), Request(limit=0), Request("after:2021-99")):
        with pytest.raises(QueryError):
            engine.search(request)
    with pytest.raises(CatalogError, match="sightline index"):
        Engine.open(Home(tmp_path / "nothing"))


def test_a_repeated_text_comes_from_the_cache(engine: Engine) -> None:
    engine.search(Request("a very new text"))
    questions = engine._questioners.current
    assert questions is not None
    first = questions.of_text("a very new text")
    assert questions.of_text("a very new text") is first


def test_ended_threads_leave_no_connection_behind(engine: Engine) -> None:
    for _ in range(5):
        threads = [threading.Thread(target=engine.search, args=(Request("a photo"),)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(engine._connections) <= 5


def test_part_of_a_word_in_quotes_is_found_and_marked_whatever_ranks(engine: Engine) -> None:
    for mode in ("auto", "words", "meaning"):
        assert names(engine, '"torcycle_le"', mode=mode) == ["motorcycle_left.png"], mode
    (why,) = engine.search(Request('"torcycle_le"', mode="words")).hits[0].why
    assert {"text": "torcycle_le", "marked": True} in why.to_json()["parts"]


def test_a_photo_is_not_like_itself_whatever_its_words_say(engine: Engine) -> None:
    cat = engine.search(Request("ginger cat", mode="words")).hits[0]
    assert cat.id not in {hit.id for hit in engine.search(Request("ginger cat", like=(cat.id,), limit=50)).hits}


@pytest.mark.parametrize("text", ["a cat", "a motorcycle", "a flower", "a cup of coffee"])
def test_a_filter_takes_nothing_from_the_answer_but_what_it_excludes(engine: Engine, text: str) -> None:
    whole = names(engine, text, mode="meaning")
    for condition, kept in (("type:png", ".png"), ("type:jpeg", ".jpg")):
        expected = [name for name in whole if name.endswith(kept)]
        assert names(engine, f"{text} {condition}", mode="meaning") == expected


def test_all_in_the_order_of_dates_leaves_out_nothing_relevant(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.retrieval.DATED_DEPTH", 1)
    relevant = set(names(engine, "a cup of coffee in a garden"))
    assert relevant <= set(names(engine, "a cup of coffee in a garden", sort="date", include_all=True))


def test_many_unwanted_texts_go_through_the_model_at_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from search.models.encoder import Encoder

    batches: list[int] = []
    real = Encoder.embed_texts
    monkeypatch.setattr(Encoder, "embed_texts", lambda self, texts: batches.append(len(texts)) or real(self, texts))
    names(engine, "a boat " + " ".join(f"-unwanted{number}" for number in range(20)), mode="meaning")
    assert batches == [1, 20]


def test_a_page_beyond_all_numbers_is_empty(engine: Engine) -> None:
    for text in ("", "a cat"):
        assert engine.search(Request(text, offset=10**20, limit=10**20)).hits == ()


def test_a_text_on_its_way_before_there_is_an_engine_goes_through_one_model_once(
    one_photo: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    batches: list[list[str]] = []
    load, embed = encoder.load_encoder, encoder.Encoder.embed_texts
    monkeypatch.setattr(encoder, "load_encoder", lambda name, **options: (loads.append(name), load(name, **options))[1])
    monkeypatch.setattr(
        encoder.Encoder, "embed_texts", lambda self, texts: (batches.append(texts), embed(self, texts))[1]
    )
    asked = Request("a red field -green")
    questions = ahead_of(one_photo, asked, "auto")
    with Engine.open(one_photo, questions=questions) as engine:
        assert engine.search(asked).hits
    assert loads == ["starter"]
    assert [batch for batch in batches if {"a red field", "green"} & set(batch)] == [["a red field", "green"]]


def test_what_needs_no_model_loads_none_ahead(one_photo: Home, tmp_path: Path) -> None:
    assert ahead_of(one_photo, Request("a red field", mode="words"), "auto") is None
    assert ahead_of(one_photo, Request("type:png"), "auto") is None
    assert ahead_of(one_photo, Request("after:2021-99"), "auto") is None  # which the engine says
    assert ahead_of(Home(tmp_path / "nothing"), Request("a red field"), "auto") is None
