"""Near-duplicates of one moment collapse into the best-ranked of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from indexer.demo import gather_samples
from indexer.report import IndexOptions
from indexer.run import run_index
from search.answer import Answer
from search.catalog import changes, model_records
from search.catalog.connection import connect_to_write
from search.engine import Engine, Request
from search.home import Home
from search.moments import _led, moments
from search.ranking_settings import RankingSettings
from search.vectors import stored
from search.vectors.protocol import Floats
from search.vectors.snapshot import take

pytestmark = pytest.mark.usefixtures("loaded_once")

RANKING = RankingSettings(moment_minutes=5, moment_distance=0.2, copy_distance=0.03)
Dates = list[str | None]
Group = Callable[..., dict[int, list[int]]]

_RANDOM = np.random.default_rng(0)


def unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32)


REST = unit(_RANDOM.normal(size=(300, 16)).astype(np.float32))
PAIR_DISTANCE = float(np.quantile((1 - REST @ REST.T)[np.triu_indices(300, 1)], 0.1))


def on_a_line(*distances: float) -> Floats:
    """Photos that lie so far from the first, in the library's measure, all to the same side of it."""
    first, side = np.eye(16, dtype=np.float32)[:2]
    angles = np.arccos(1 - PAIR_DISTANCE * np.asarray((0.0, *distances)))
    return unit(np.cos(angles)[:, None] * first + np.sin(angles)[:, None] * side)


def minute(number: float) -> str:
    return f"2021-06-30T12:{int(number):02}:{int(number % 1 * 60):02}"


@pytest.fixture
def group(home: Home) -> Group:
    """Groups the photos with these embeddings, best first, in a library with 300 more; each is known by its place."""

    def run(
        vectors: Floats, dates: Dates, *, narrow: float = 1.0, ranking: RankingSettings = RANKING
    ) -> dict[int, list[int]]:
        every = np.concatenate([vectors, REST])
        # A narrow cone: what some models make of all photos.
        every = unit(np.c_[narrow * every, np.ones(len(every))].astype(np.float32)) if narrow != 1.0 else every
        with closing(connect_to_write(home)) as connection:
            with connection:
                changes.add_library(connection, b"/photos")
                model = model_records.register(
                    connection,
                    name="m",
                    weights="f" * 16,
                    preprocessing="p",
                    precision="auto",
                    dimensions=every.shape[1],
                    logit_scale=1.0,
                    logit_bias=None,
                )
                model_records.activate(connection, model.key)
                for number, (vector, date) in enumerate(zip(every, [*dates, *[None] * len(REST)], strict=True)):
                    photo = changes.NewPhoto(f"{number:032}", 1, 1, "JPEG", 1, date, "2020", None, None, None, None)
                    key = changes.put_photo(connection, photo)
                    changes.put_embedding(connection, model.key, key, stored.pack(vector))
            snapshot = take(home, connection, None)
            assert snapshot is not None
            found = moments(connection, snapshot, np.arange(1, len(vectors) + 1, dtype=np.int64), ranking)
        return {leader - 1: [key - 1 for key in others] for leader, others in found.items()}

    return run


def test_photos_of_the_same_minutes_that_look_alike_are_one_moment(group: Group) -> None:
    vectors = on_a_line(0.15, 0.18, 0.3, 0.15)
    dates: Dates = [minute(10), minute(10.5), minute(14.9), minute(10), minute(15.1)]
    assert group(vectors, dates) == {0: [1, 2]}


def test_without_a_date_only_nearly_the_same_picture_is(group: Group) -> None:
    vectors = on_a_line(0.02, 0.05, 0.025)
    assert group(vectors, [None, None, None, minute(1)]) == {0: [1, 3]}


def test_pictures_of_other_times_never_are(group: Group) -> None:
    assert group(on_a_line(0.0, 0.01), [minute(1), minute(30), "2022-06-30T12:01:00"]) == {}


def test_clocks_count_as_they_were_read_and_broken_ones_as_none(group: Group) -> None:
    dates: Dates = [minute(1), minute(2) + "+09:00", minute(3) + "-05:00", "2021-13-99T99:99:99"]
    assert group(on_a_line(0.1, 0.1, 0.1), dates) == {0: [1, 2]}


def test_everyone_is_near_to_the_leader_so_that_no_chain_forms(group: Group) -> None:
    chain = on_a_line(0.02, 0.08, 0.18, 0.32)  # each is near to the next
    dates: Dates = [minute(1)] * 5
    assert group(chain, dates, ranking=RankingSettings(moment_distance=0.05)) == {0: [1], 2: [3]}


def test_the_best_ranked_leads(group: Group) -> None:
    middle_first = on_a_line(0.02, 0.08)[[1, 0, 2]]
    ranking = RankingSettings(moment_distance=0.05)
    assert group(middle_first, [minute(1)] * 3, ranking=ranking) == {0: [1, 2]}


@pytest.mark.parametrize("narrow", [0.5, 0.2])
def test_near_means_the_same_for_a_model_whose_cosines_are_all_high(group: Group, narrow: float) -> None:
    vectors = on_a_line(0.02, 0.05, 0.15, 0.25)
    assert group(vectors, [minute(1), None, None, minute(2), minute(2)], narrow=narrow) == {0: [1, 3]}


def test_more_hits_than_one_block_of_rows_group_alike(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = np.repeat(REST[:40], 2, axis=0)
    expected = {2 * number: [2 * number + 1] for number in range(40)}
    monkeypatch.setattr("search.moments._ROWS", 7)
    assert group(pairs, [minute(1)] * 80, ranking=RankingSettings(moment_distance=0.01)) == expected


@pytest.mark.parametrize("seed", range(6))
def test_moments_are_those_that_comparing_all_with_all_gives(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.moments._ROWS", 16)
    chance = np.random.default_rng(seed)
    count = 120
    vectors = unit(REST[chance.integers(0, 12, count)] + chance.normal(0, 0.05, (count, 16)).astype(np.float32))
    minutes = chance.integers(0, 60, count).astype(np.float64)
    minutes[chance.random(count) < (0.0, 0.3, 1.0)[seed % 3]] = np.nan
    expected: dict[int, list[int]] = {}
    free = np.ones(count, np.bool_)
    for leader in range(count):
        if not free[leader]:
            continue
        distances, apart = 1 - vectors @ vectors[leader], np.abs(minutes - minutes[leader])
        near = np.where(np.isnan(apart), distances <= 0.03, (distances <= 0.2) & (apart <= 5))
        others = [other for other in range(leader + 1, count) if free[other] and near[other]]
        free[others] = False
        if others:
            expected[leader] = others
    led = _led(vectors, minutes, 1.0, RANKING, {})
    assert {leader: others.tolist() for leader, others in led.items()} == expected and len(expected) > 3


def test_hits_below_a_depth_stand_alone(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.moments.COLLAPSED", 2)
    assert group(on_a_line(0.0, 0.0), [None] * 3) == {0: [1]}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine over the sample photos, some more than once: a burst, one an hour later, edited copies."""
    root = tmp_path_factory.mktemp("moments")
    library = root / "library"
    gather_samples(library)
    with Image.open(library / "motorcycle_left.png") as opened:
        burst = opened.convert("RGB")
    width, height = burst.size
    for second, left in ((0, 0), (2, 12), (4, 24)):
        frame = burst.crop((left, 0, width - 24 + left, height))
        frame.save(library / f"burst_{second}.jpg", exif=taken(f"2021:06:30 18:00:0{second}"))
    burst.save(library / "later.jpg", exif=taken("2021:06:30 19:00:00"))
    with Image.open(library / "coffee.png") as opened:
        cup = opened.convert("RGB")
    cup.save(library / "coffee_saved.jpg", quality=85)
    ImageEnhance.Brightness(cup).enhance(1.1).save(library / "coffee_edited.jpg", quality=90)
    home = Home(root / "home")
    run_index(home, [library], IndexOptions(model="starter", captions="off"))
    with Engine.open(home) as engine:
        yield engine


def taken(date: str) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0132] = date
    return exif


def groups(engine: Engine, answer: Answer) -> list[set[str]]:
    """The file names of each hit's moment."""
    found = []
    for hit in answer.hits:
        photos = [engine.photo(photo) for photo in (hit.id, *hit.others)]
        found.append({Path(photo.path).name for photo in photos if photo})
    return found


def shown(answer: Answer) -> list[str]:
    return [photo for hit in answer.hits for photo in (hit.id, *hit.others)]


def test_bursts_and_copies_collapse_and_other_times_do_not(engine: Engine) -> None:
    answer = engine.search(Request("a photo", mode="meaning", include_all=True, collapse=True, limit=100))
    several = [group for group in groups(engine, answer) if len(group) > 1]
    assert {"coffee.png", "coffee_saved.jpg", "coffee_edited.jpg"} in several
    # The undated original is nearly the same picture as the dated ones; it goes to whichever leads.
    assert {"burst_0.jpg", "burst_2.jpg", "burst_4.jpg"} <= set.union(*several)
    assert not any("later.jpg" in group and any(name.startswith("burst") for name in group) for group in several)


@pytest.mark.parametrize(
    "request_",
    [
        Request("a motorcycle", mode="meaning"),
        Request("a motorcycle", mode="meaning", include_all=True),
        Request("burst", mode="words"),
        Request("a cup of coffee"),
        Request("a cup of coffee", include_all=True),
        Request("a cup of coffee", sort="date"),
        Request(images=(Image.new("RGB", (64, 64), "teal"),)),
        Request("coffee", images=(Image.new("RGB", (64, 64), "teal"),), sort="date"),
    ],
    ids=lambda request: f"{request.text}-{request.mode}-{request.sort}-{request.include_all}-{len(request.images)}",
)
def test_a_collapsed_answer_holds_the_same_photos_on_exact_pages(engine: Engine, request_: Request) -> None:
    plain = engine.search(replace(request_, limit=100))
    whole = engine.search(replace(request_, collapse=True, limit=100))
    assert sorted(shown(whole)) == sorted(hit.id for hit in plain.hits)
    assert whole.total == len(whole.hits) < plain.total == whole.total + whole.collapsed
    assert whole.left_out == plain.left_out
    places = {hit.id: place for place, hit in enumerate(plain.hits)}
    assert [places[hit.id] for hit in whole.hits] == sorted(places[hit.id] for hit in whole.hits)
    if request_.sort == "relevance" and not request_.include_all:
        assert all(places[hit.id] < places[other] for hit in whole.hits for other in hit.others)
    pages = [engine.search(replace(request_, collapse=True, limit=2, offset=at)) for at in range(0, whole.total, 2)]
    assert [photo for page in pages for photo in shown(page)] == shown(whole)
    assert {(page.total, page.collapsed) for page in pages} == {(whole.total, whole.collapsed)}


def test_what_is_relevant_leads_what_is_not(engine: Engine) -> None:
    """Here the order is that of meaning, in which nothing is relevant; words find one of the copies."""
    by_meaning = RankingSettings(literal_weight=0, all_words_weight=0, some_words_weight=0, present=-100)
    with Engine.open(engine.home, ranking=by_meaning) as other:
        for word in ("saved", "edited"):
            found = other.search(Request(f"coffee {word}", include_all=True, collapse=True, limit=100))
            (leader,) = [hit for hit in found.hits if hit.relevant]
            assert Path(leader.path).name == f"coffee_{word}.jpg" and len(leader.others) == 2


def test_the_list_of_the_newest_does_not_collapse(engine: Engine) -> None:
    plain, collapsed = (engine.search(Request(collapse=collapse, limit=100)) for collapse in (False, True))
    assert [hit.id for hit in collapsed.hits] == [hit.id for hit in plain.hits]
    assert collapsed.collapsed == 0 and not any(hit.others for hit in collapsed.hits)


def test_a_moment_whose_leader_was_deleted_is_led_by_the_next(engine: Engine, tmp_path: Path) -> None:
    library, home = tmp_path / "library", Home(tmp_path / "home")
    source = Path(engine.search(Request("coffee", mode="words")).hits[0].path).parent
    library.mkdir()
    for file in source.iterdir():
        shutil.copy(file, library)
    run_index(home, [library], IndexOptions(model="starter", captions="off"))
    with Engine.open(home) as other:
        request = Request("coffee", mode="words", collapse=True)
        before = other.search(request)
        (hit,) = before.hits
        assert len(hit.others) == 2
        Path(hit.path).unlink()
        run_index(home)
        after = other.search(Request("coffee", mode="words", collapse=True, listing=before.listing))
        assert [(one.id, one.others) for one in after.hits] == [(hit.others[0], hit.others[1:])]
