"""The weights and constants of ranking come from the environment, or are what was measured."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import ValidationError

from indexer.demo import gather_samples
from indexer.report import IndexOptions
from indexer.run import run_index
from search.answer import Answer, Request
from search.engine import Engine
from search.errors import SettingsError
from search.home import Home
from search.ranking_settings import RankingSettings

pytestmark = pytest.mark.usefixtures("loaded_once")

Ask = Callable[[Request, RankingSettings], Answer]


def test_a_variable_sets_what_it_names_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{RankingSettings.prefix}FUSION_CONSTANT", "60")
    monkeypatch.setenv(f"{RankingSettings.prefix}FLOOR", "")  # as if it were not there
    assert RankingSettings.read() == RankingSettings(fusion_constant=60)
    assert RankingSettings.read().floor == RankingSettings.model_fields["floor"].default


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("FLOOR", "low", "SIGHTLINE_RANKING_FLOOR cannot be “low”: it should be a valid number"),
        ("FLOOR", "nan", "SIGHTLINE_RANKING_FLOOR cannot be “nan”: it should be a finite number"),
        (
            "HUB_SENTENCES",
            "0",
            "SIGHTLINE_RANKING_HUB_SENTENCES cannot be “0”: it should be greater than or equal to 1",
        ),
        ("MEANING_WEIGHT", "-1", "it should be greater than or equal to 0"),
        ("FLOR", "2", "There is no ranking setting SIGHTLINE_RANKING_FLOR; docs/settings.md lists those there are."),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(f"{RankingSettings.prefix}{name}", value)
    with pytest.raises(SettingsError, match=re.escape(sentence)) as caught:
        RankingSettings.read()
    assert "\n" not in str(caught.value)


def test_they_never_change() -> None:
    with pytest.raises(ValidationError):
        RankingSettings().floor = 1.0  # type: ignore[misc]


def test_a_folder_s_own_files_set_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text(f"{RankingSettings.prefix}FLOOR=9\n")
    monkeypatch.chdir(tmp_path)
    assert RankingSettings.read() == RankingSettings()


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Home:
    root = tmp_path_factory.mktemp("settings")
    gather_samples(root / "library")
    run_index(Home(root / "home"), [root / "library"], IndexOptions(model="starter", captions="off"))
    return Home(root / "home")


@pytest.fixture
def ask(samples: Home) -> Ask:
    def answered(request: Request, ranking: RankingSettings) -> Answer:
        with Engine.open(samples, ranking=ranking) as engine:
            return engine.search(request)

    return answered


def test_present_and_floor_say_where_an_answer_ends(ask: Ask) -> None:
    request = Request("a motorcycle", mode="meaning")
    assert ask(request, RankingSettings(present=-100)).total == 0
    assert ask(request, RankingSettings(floor=-100)).total == 0  # not even the best reaches so far
    assert ask(request, RankingSettings(floor=100)).total == 11
    assert 0 < ask(request, RankingSettings()).total < 11


def test_hub_weight_is_what_is_taken_from_a_similarity(ask: Ask) -> None:
    request = Request("a motorcycle", mode="meaning", limit=1)
    taken = []
    for weight in (0.0, 0.1, 0.4):
        (hit,) = ask(request, RankingSettings(hub_weight=weight, floor=100)).hits
        assert hit.score is not None and hit.why[0].similarity is not None
        taken.append(hit.why[0].similarity - hit.score)
    assert taken == [0.0, pytest.approx(taken[1]), pytest.approx(4 * taken[1], abs=1e-5)] and taken[1] > 0


def test_negative_weight_is_how_much_of_an_unwanted_text_is_taken_away(ask: Ask) -> None:
    def similarity(weight: float) -> float:
        request = Request("a motorcycle", negative="a garage", mode="meaning", include_all=True, limit=1)
        return ask(request, RankingSettings(negative_weight=weight)).hits[0].why[0].similarity or 0.0

    plain = ask(Request("a motorcycle", mode="meaning", limit=1), RankingSettings()).hits[0].why[0].similarity
    assert similarity(0) == pytest.approx(plain, abs=1e-6) and similarity(0) > similarity(0.5) > similarity(2)


def test_another_way_to_measure_the_library_measures_it_anew(samples: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def levels() -> list[float]:
        run_index(samples)
        with closing(sqlite3.connect(samples.catalog_path)) as connection:
            return [row[0] for row in connection.execute("SELECT level FROM levels ORDER BY photo_key")]

    before = levels()
    monkeypatch.setenv(f"{RankingSettings.prefix}HUB_SENTENCES", "1")
    nearest = levels()
    assert len(nearest) == len(before) == 11
    assert all(one > other for one, other in zip(nearest, before, strict=True))  # of the nearest sentence alone
