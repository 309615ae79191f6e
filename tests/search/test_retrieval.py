"""What is found and how it is judged, in a library whose embeddings are drawn by hand.

The texts' embeddings are put where the engine keeps those of earlier texts, so that no model is needed.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from search.answer import Answer
from search.catalog import changes, model_records, settings, words
from search.catalog.connection import connect_to_write
from search.engine import Engine, Request
from search.home import Home
from search.vectors import stored
from search.vectors.protocol import Floats

pytestmark = pytest.mark.usefixtures("loaded_once")

DOG, CAT, CAR, NOTHING = np.eye(4, dtype=np.float32)
PHOTOS = {
    # The part of each that shows a dog, a cat and a car; the rest shows nothing that is asked for.
    "best.jpg": (0.9, 0.1, 0.0),
    "good.jpg": (0.7, 0.3, 0.35),
    "fair.jpg": (0.62, 0.7, 0.0),
    "poor.jpg": (0.5, 0.6, 0.0),
    "hood.jpg": (0.1, 0.0, 0.40),
    "cat.jpg": (0.57, 0.74, 0.0),
    "tree.jpg": (0.0, 0.0, 0.1),
}
EXPECTED, SPREAD = 0.5, 0.1
"""So what scores less than 0.435 is not there, and an answer ends half-way from its best score to 0.27."""


def vector(*parts: float) -> Floats:
    known = np.asarray(parts, np.float32)
    return np.append(known, np.sqrt(1 - np.square(known).sum())).astype(np.float32)


def unit(of: Floats) -> Floats:
    return np.asarray(of / np.linalg.norm(of), np.float32)


@pytest.fixture
def engine(home: Home) -> Iterator[Engine]:
    connection = connect_to_write(home)
    with connection:
        library = changes.add_library(connection, b"/photos")
        model = model_records.register(
            connection,
            name="m",
            weights="f" * 16,
            preprocessing="p",
            precision="auto",
            dimensions=4,
            logit_scale=100.0,
            logit_bias=None,
        )
        model_records.activate(connection, model.key)
        connection.execute(
            "INSERT INTO backgrounds (model_key, bank, photos, maxima, spread) VALUES (?, '', ?, ?, ?)",
            (model.key, len(PHOTOS), np.asarray([EXPECTED], "<f4").tobytes(), SPREAD),
        )
        for number, (name, parts) in enumerate(PHOTOS.items()):
            taken = f"2021-01-0{number + 1}"
            photo = changes.NewPhoto(f"{number:032x}", 4, 3, "JPEG", 1, taken, taken, *[None] * 4)
            key = changes.put_photo(connection, photo)
            changes.put_embedding(connection, model.key, key, stored.pack(vector(*parts)))
            changes.put_file(
                connection,
                library_key=library,
                folder=b"/photos",
                name=name.encode(),
                size=1,
                mtime_ns=1,
                photo_key=key,
            )
            words.refresh(connection, [key])
        settings.grow_revision(connection)
    connection.close()
    with Engine.open(home) as engine:
        questions = engine._questioner(engine._now(engine._connection()))
        questions._texts.update({"dog": DOG, "furry": CAT, "car": CAR, "a wheel": unit(CAR + NOTHING)})
        yield engine


def ask(engine: Engine, text: str, **options: object) -> Answer:
    return engine.search(Request(text, **{"mode": "meaning", **options}))  # type: ignore[arg-type]


def found(engine: Engine, text: str, **options: object) -> list[str]:
    return [hit.path.removeprefix("/photos/") for hit in ask(engine, text, **options).hits]


def identity(name: str) -> str:
    return f"{list(PHOTOS).index(name):032x}"


def similarities(answer: Answer, signal: str = "meaning") -> dict[str, float]:
    whys = {hit.path.removeprefix("/photos/"): {why.signal: why.similarity for why in hit.why} for hit in answer.hits}
    return {name: why[signal] for name, why in whys.items()}  # type: ignore[misc]


def test_unwanted_texts_take_half_of_their_mean_direction_away(engine: Engine) -> None:
    asked = unit(DOG - 0.5 * (CAT + unit(CAR + NOTHING)) / 2)
    by_hand = {name: float(vector(*parts) @ asked) for name, parts in PHOTOS.items()}
    answer = ask(engine, 'dog -furry -"a wheel"', include_all=True)
    assert similarities(answer) == pytest.approx(by_hand, abs=2e-3)
    assert [hit.score for hit in answer.hits] == sorted((hit.score for hit in answer.hits), reverse=True)  # type: ignore[type-var]


def test_an_unwanted_text_turns_a_picture_too(engine: Engine) -> None:
    like = unit(vector(*PHOTOS["poor.jpg"]) - 0.5 * CAT)
    by_hand = {name: float(vector(*parts) @ like) for name, parts in PHOTOS.items() if name != "poor.jpg"}
    answer = ask(engine, "", like=(identity("poor.jpg"),), negative="furry")
    assert similarities(answer, "image") == pytest.approx(by_hand, abs=2e-3)


def test_an_answer_ends_half_way_to_what_has_nothing_to_do_with_the_text(engine: Engine) -> None:
    answer = ask(engine, "dog")
    assert found(engine, "dog") == ["best.jpg", "good.jpg", "fair.jpg"]  # those above (0.9 + 0.27) / 2
    assert (answer.total, answer.left_out) == (3, len(PHOTOS) - 3)


def test_nothing_is_found_where_the_best_photo_does_not_show_it(engine: Engine) -> None:
    answer = ask(engine, "car")  # 0.40 at best
    assert (answer.total, answer.left_out) == (0, len(PHOTOS))
    assert ask(engine, "car", include_all=True).total == len(PHOTOS)


def test_what_must_not_be_shown_takes_nothing_from_whether_the_rest_is_there(engine: Engine) -> None:
    answer = ask(engine, "furry -dog")
    assert 0.27 < max(similarities(answer).values()) < 0.435  # by this alone nothing would be there
    assert found(engine, "furry -dog") == ["cat.jpg", "fair.jpg"]


def test_filters_take_nothing_from_whether_it_is_there_nor_from_where_it_ends(engine: Engine) -> None:
    assert found(engine, "dog -on:2021-01-01") == ["good.jpg", "fair.jpg"]  # by these alone, 0.5 would be in
    assert found(engine, "dog on:2021-01-03") == ["fair.jpg"]
    assert found(engine, "dog on:2021-01-04") == []  # which alone would be there


@pytest.mark.parametrize("mode", ["meaning", "auto"])
def test_how_many_there_are_does_not_depend_on_the_page(engine: Engine, mode: str) -> None:
    whole = ask(engine, "dog", mode=mode, limit=100)
    assert whole.total == 3
    for limit, offset in ((1, 0), (2, 0), (1, 1), (1, 2), (5, 3)):
        page = ask(engine, "dog", mode=mode, limit=limit, offset=offset)
        assert (page.total, page.left_out) == (whole.total, whole.left_out)
        assert [hit.id for hit in page.hits] == [hit.id for hit in whole.hits][offset : offset + limit]


def test_text_that_refines_a_picture_is_not_judged(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is like a picture has no end, and the text says in which order; here each list is read to the third hit."""
    monkeypatch.setattr("search.retrieval.DEPTH", 3)
    like = (identity("cat.jpg"),)
    both = ask(engine, "car", like=like, limit=100)
    pictures = found(engine, "", like=like)[:3]
    texts = found(engine, "car", include_all=True)[:3]
    assert not set(texts) <= set(pictures)
    assert {hit.path.removeprefix("/photos/") for hit in both.hits} == {*pictures, *texts} and both.left_out == 0


def test_exact_words_are_asked_by_meaning_too_and_are_their_own_judgement(engine: Engine) -> None:
    questions = engine._questioners.current
    assert questions is not None
    questions._texts.update({"hood": CAR, "dog hood": DOG})
    assert similarities(ask(engine, '"hood"')) == pytest.approx({"hood.jpg": 0.40}, abs=2e-3)
    assert similarities(ask(engine, 'dog "hood"', include_all=True)) == pytest.approx({"hood.jpg": 0.1}, abs=2e-3)
    assert ask(engine, 'dog "hood"').total == 0


def test_what_is_written_counts_as_much_as_meaning_does(engine: Engine) -> None:
    engine._questioners.current._texts["hood"] = DOG  # type: ignore[union-attr]
    first, second = ask(engine, "hood", mode="auto", include_all=True).hits[:2]
    assert [first.path, second.path] == ["/photos/hood.jpg", "/photos/best.jpg"]
    # Written, in all words and sixth by meaning; first by meaning alone.
    assert [first.score, second.score] == pytest.approx([1 / 11 + 0.5 / 11 + 1 / 16, 1 / 11], abs=1e-3)


def test_in_the_order_of_dates_with_all_nothing_relevant_is_missing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.retrieval.DATED_DEPTH", 1)
    assert found(engine, "dog", include_all=True, sort="date") == ["fair.jpg", "good.jpg", "best.jpg"]
