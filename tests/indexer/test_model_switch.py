"""Another model: answers come from the one before until the new one has seen everything, and then from it alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from support import PREPROCESS, picture, save_checkpoint

from indexer.model_choice import LoadedModel, choose
from indexer.progress import Silent
from indexer.report import IndexOptions
from indexer.run import run_index
from search.answer import Answer
from search.catalog import model_records, settings
from search.catalog.connection import connect_to_read, connect_to_write
from search.engine import Engine, Request
from search.errors import ModelError
from search.home import Home
from search.models.encoder import load_encoder
from search.ranking_settings import RankingSettings
from search.vectors import stored

pytestmark = pytest.mark.usefixtures("loaded_once")

PHOTOS = 24
STARTER = IndexOptions(model="starter", captions="off")
QUESTIONS = ("a dog in the snow", "a red car")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(PHOTOS):
        picture(folder / f"{number}.jpg", number)
    return folder


@pytest.fixture
def other(tiny_checkpoint: Callable[..., str]) -> IndexOptions:
    return IndexOptions(model=tiny_checkpoint(), captions="off", batch_size=4)


def ask(engine: Engine, text: str) -> Answer:
    return engine.search(Request(text, mode="meaning", limit=100, include_all=True))


def exact(home: Home, name: str) -> dict[str, list[str]]:
    """The photos' ids by what the model makes of each question, nearest first, by every stored vector of it."""
    encoder = load_encoder(name)
    with closing(connect_to_read(home)) as connection:
        (key,) = connection.execute("SELECT key FROM models WHERE name = ?", (encoder.name,)).fetchone()
        keys, vectors, _ = stored.load(connection, key, encoder.dim)
        ids = dict(connection.execute("SELECT key, id FROM photos"))
    found = {}
    for text in QUESTIONS:
        order = np.argsort(-(vectors @ encoder.embed_texts([text])[0]), kind="stable")
        found[text] = [ids[int(photo)] for photo in keys[order]]
    return found


def await_answers(answers: list[tuple[str, Answer]], model: str | None) -> None:
    until = time.monotonic() + 60
    while not answers or answers[-1][1].model != model:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_under_load_every_answer_is_of_one_model_and_right(home: Home, photos: Path, other: IndexOptions) -> None:
    run_index(home, [photos], STARTER)
    assert other.model is not None
    answers: list[tuple[str, Answer]] = []
    stop = threading.Event()
    # Without the correction for hubs an answer is what exact search finds.
    with Engine.open(home, ranking=RankingSettings(hub_weight=0.0)) as engine:

        def search(text: str) -> None:
            while not stop.is_set():
                answers.append((text, ask(engine, text)))

        threads = [threading.Thread(target=search, args=(text,)) for text in QUESTIONS for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            await_answers(answers, "starter")
            for options in (other, STARTER, other):
                run_index(home, [], options)
                await_answers(answers, options.model)  # it follows by itself
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    right = {name: exact(home, name) for name in ("starter", other.model)}
    assert {answer.model for _, answer in answers} == set(right)
    for text, answer in answers:
        assert [hit.id for hit in answer.hits] == right[answer.model or ""][text]
    models = [answer.model for _, answer in answers]
    assert len(answers) > 50 and models[0] == "starter"


def test_no_search_waits_for_a_model_that_is_being_loaded(
    home: Home, photos: Path, other: IndexOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search.questions import Questions

    run_index(home, [photos], STARTER)
    with Engine.open(home) as engine:
        assert ask(engine, "x").model == "starter"
        run_index(home, [], other)
        gate = threading.Event()
        warm = Questions.warm

        def slowly(self: Questions) -> None:
            assert gate.wait(60)
            warm(self)

        monkeypatch.setattr(Questions, "warm", slowly)
        (photos / "0.jpg").unlink()
        run_index(home)
        for _ in range(3):
            answer = ask(engine, "x")
            assert answer.model == "starter" and answer.total == PHOTOS - 1  # and sees what happens meanwhile
        gate.set()
        until = time.monotonic() + 60
        while ask(engine, "x").model != other.model:
            assert time.monotonic() < until
        assert ask(engine, "x").total == PHOTOS - 1


def test_a_change_that_is_cut_off_leaves_the_answers_and_goes_on(home: Home, photos: Path, other: IndexOptions) -> None:
    class CutOff(Silent):
        name = ""

        def stage(self, name: str, total: int | None) -> None:
            self.name = name

        def advance(self, done: int, failed: int) -> None:
            if self.name == "embed" and done >= 12:
                raise KeyboardInterrupt

    run_index(home, [photos], STARTER)
    with pytest.raises(KeyboardInterrupt):
        run_index(home, [], other, CutOff())
    with Engine.open(home) as engine:
        assert (ask(engine, "x").model, ask(engine, "x").total) == ("starter", PHOTOS)
        # A photo that arrives meanwhile is found at once, by the model that answers.
        picture(photos / "new.jpg", 100)
        arrived = run_index(home, [], IndexOptions(), places=[bytes(photos / "new.jpg")], model=LoadedModel())
        assert (arrived.model, arrived.embedded) == ("starter", 1)
        assert ask(engine, "x").total == PHOTOS + 1
    rest = run_index(home)
    assert rest.model == other.model and rest.embedded <= PHOTOS + 1
    with Engine.open(home) as engine:
        assert (ask(engine, "x").model, ask(engine, "x").total) == (other.model, PHOTOS + 1)


def test_the_way_back_costs_nothing_for_a_day_or_for_as_long_as_it_is_kept(
    home: Home, photos: Path, other: IndexOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def models() -> int:
        with closing(connect_to_read(home)) as connection:
            return int(connection.execute("SELECT count(*) FROM models").fetchone()[0])

    let_go = model_records.let_go
    run_index(home, [photos], STARTER)
    assert run_index(home, [], other).embedded == PHOTOS
    assert run_index(home, [], STARTER).embedded == 0
    monkeypatch.setattr(model_records, "let_go", lambda connection: let_go(connection, timedelta(seconds=-1)))
    assert run_index(home, [], replace(other, keep_previous=True)).embedded == 0
    assert run_index(home).embedded == 0 and models() == 2
    assert run_index(home, [], STARTER).embedded == 0
    run_index(home, [], IndexOptions(keep_previous=False))
    assert models() == 1
    folders = {folder.name for folder in home.vectors_dir.iterdir()}
    with closing(connect_to_read(home)) as connection:
        assert folders == {row[0] for row in connection.execute("SELECT folder FROM generations")}
        assert connection.execute("SELECT count(*) FROM embeddings").fetchone()[0] == PHOTOS
    with Engine.open(home) as engine:
        assert ask(engine, "x").total == PHOTOS
    assert run_index(home, [], other).embedded == PHOTOS


def active(home: Home) -> model_records.ModelRecord:
    with closing(connect_to_read(home)) as connection:
        model = model_records.active(connection)
    assert model is not None
    return model


def test_a_precision_that_is_asked_for_is_another_model_and_remembered(home: Home, photos: Path) -> None:
    run_index(home, [photos], STARTER)
    first = active(home)
    assert first.precision == "auto"
    assert run_index(home, [], IndexOptions(precision="fp32")).embedded == PHOTOS
    second = active(home)
    assert (second.weights, second.precision) == (first.weights, "fp32") and second.key != first.key
    picture(photos / "new.jpg", 100)
    assert run_index(home).embedded == 1 and active(home) == second
    picture(photos / "newer.jpg", 101)
    arrived = run_index(home, [], IndexOptions(), places=[bytes(photos / "newer.jpg")], model=LoadedModel())
    assert arrived.embedded == 1
    with Engine.open(home) as engine:
        assert ask(engine, "x").total == PHOTOS + 2
    assert run_index(home, [], IndexOptions(precision="auto")).embedded == 2 and active(home) == first


def test_another_preprocessing_is_another_model(home: Home, photos: Path, tmp_path: Path) -> None:
    name = save_checkpoint(tmp_path / "checkpoint")
    run_index(home, [photos], IndexOptions(model=name, captions="off"))
    with Engine.open(home) as engine:
        before = ask(engine, "x")
        save_checkpoint(tmp_path / "checkpoint", preprocess={**PREPROCESS, "mean": [0.1, 0.2, 0.3]})
        assert ask(engine, "x").hits == before.hits  # the model that was loaded goes on
        with Engine.open(home) as other, pytest.raises(ModelError, match=r"other weights, or another preprocessing"):
            ask(other, "x")
        assert run_index(home).embedded == PHOTOS
    with Engine.open(home) as engine:
        assert ask(engine, "x").total == PHOTOS


def test_a_model_of_a_catalog_that_knew_no_preprocessing_stays_the_same(home: Home, photos: Path) -> None:
    run_index(home, [photos], STARTER)
    now = active(home)
    with closing(connect_to_write(home)) as connection, connection:
        connection.execute("UPDATE models SET fingerprint = ?", (now.weights,))
        connection.execute("UPDATE settings SET value = '' WHERE name = 'weights_stamp'")
    with Engine.open(home) as engine:
        assert ask(engine, "x").total == PHOTOS
        assert run_index(home).embedded == 0 and active(home) == now
        assert ask(engine, "x").total == PHOTOS
    with closing(connect_to_read(home)) as connection:
        assert choose(connection, IndexOptions()).settled


def test_weights_that_were_replaced_are_let_go_of(home: Home, photos: Path, tmp_path: Path) -> None:
    options = IndexOptions(model=save_checkpoint(tmp_path / "checkpoint"), captions="off")
    run_index(home, [photos], options)
    before = active(home)
    save_checkpoint(tmp_path / "checkpoint", seed=1)
    run_index(home)
    with closing(connect_to_write(home)) as connection, connection:
        assert model_records.let_go(connection, timedelta(seconds=-1)) == 1
        assert before.key not in [model.key for model in model_records.every(connection)]


def test_a_model_that_is_half_built_and_wanted_is_not_let_go_of(home: Home, photos: Path, other: IndexOptions) -> None:
    run_index(home, [photos], STARTER)
    run_index(home, [], other)
    with closing(connect_to_write(home)) as connection, connection:
        ((first, *_),) = connection.execute("SELECT key FROM models WHERE name = 'starter'")
        settings.put(connection, "model", "starter")  # as by a run back to it that was cut off
        assert model_records.let_go(connection, timedelta(seconds=-1)) == 0
        settings.put(connection, "precision", "fp32")
        assert model_records.let_go(connection, timedelta(seconds=-1)) == 1
        assert first not in [model.key for model in model_records.every(connection)]
