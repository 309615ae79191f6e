"""Tags from embeddings alone, on a vocabulary whose texts lie where the test puts them."""

from __future__ import annotations

import numpy as np

from search.tagging import ASSUMED, MOST, STANDS_OUT, WANTED, Tagger, lexicon
from search.vectors.protocol import Floats
from search.vocabulary import Concept

ANIMAL, DOG, CAT, CAR = range(4)
CONCEPTS = [
    Concept("animal", (), ("animal",)),
    Concept("dog", (), ("dog",), ("animal",)),
    Concept("cat", (), ("cat",), ("animal",)),
    Concept("car", (), ("car",)),
]
SENTENCES = ["a dog asleep", "something else", "two cats"]
AXES = np.eye(8, dtype=np.float32)


def tagger(scale: float = 20.0) -> Tagger:
    """Each concept on an axis of its own; sentences near what they speak of."""
    return Tagger(lexicon(CONCEPTS, SENTENCES), AXES[:4], AXES[[DOG, 5, CAT]], scale)


def unit(*weights: float) -> Floats:
    vector = np.zeros(8, np.float32)
    vector[: len(weights)] = weights
    return np.asarray(vector / np.linalg.norm(vector), np.float32)[None]


def named(found: Tagger, photo: Floats, usual: Floats | None = None) -> list[str]:
    (tags,) = found.tags(found.shares(photo), found.lexicon.chance if usual is None else usual)
    return [CONCEPTS[place].tag for place, _ in tags]


def test_a_photo_is_tagged_with_what_it_is_near_and_with_what_that_is_a_kind_of() -> None:
    assert named(tagger(), unit(0, 1)) == ["animal", "dog"]
    assert named(tagger(), unit(0, 0, 0, 1)) == ["car"]


def test_a_photo_between_two_kinds_is_surely_of_what_is_broader() -> None:
    (between,) = tagger(8.0).tags(tagger(8.0).shares(unit(0, 1, 1)), tagger().lexicon.chance)
    scores = dict(between)
    assert scores[ANIMAL] > 2 * max(scores.get(DOG, 0), scores.get(CAT, 0))


def test_a_photo_near_to_nothing_has_no_tags() -> None:
    assert named(tagger(), unit(0, 0, 0, 0, 0, 0, 1)) == []


def test_shares_of_everything_are_chance_where_all_is_as_near() -> None:
    np.testing.assert_allclose(tagger().shares(unit(0, 0, 0, 0, 0, 0, 1))[0], tagger().lexicon.chance, rtol=1e-5)
    # Half of a photo falls on concepts, half on sentences: “animal” has three of four and two of three.
    np.testing.assert_allclose(tagger().lexicon.chance, [17 / 24, 1 / 8 + 1 / 6, 1 / 8 + 1 / 6, 1 / 8], rtol=1e-5)


def test_what_is_usual_in_a_library_is_no_tag_unless_it_is_clear() -> None:
    found = tagger(2.2)
    photo = unit(0, 0, 0, 1)
    share = found.shares(photo)[0, CAR]
    usual = found.lexicon.chance.copy()
    assert named(found, photo, usual) == ["car"]
    usual[CAR] = share / 1.4  # less than one and a half times what is usual
    assert share < 0.25
    assert named(found, photo, usual) == []
    assert named(tagger(), photo, usual) == ["car"]  # a quarter of the photo and more


def test_what_is_usual_starts_from_chance_and_follows_the_library() -> None:
    found = tagger()
    cars = np.repeat(unit(0, 0, 0, 1), 3 * ASSUMED, axis=0)
    usual = found.usual(cars)
    share = found.shares(cars[:1])[0]
    np.testing.assert_allclose(usual, (found.lexicon.chance + 3 * share) / 4, rtol=1e-4)
    np.testing.assert_allclose(found.usual(cars[:0]), found.lexicon.chance, rtol=1e-5)


def test_the_best_few_are_kept_with_scores_above_0_and_at_most_1() -> None:
    many = [Concept(f"c{n}", (), (f"c{n}",)) for n in range(2 * MOST)]
    axes = np.eye(len(many) + 1, dtype=np.float32)
    found = Tagger(lexicon(many, ["nothing of it"]), axes[:-1], axes[-1:], 60.0)
    shares = np.linspace(0, 1, len(many), dtype=np.float32)[None]
    (tags,) = found.tags(shares, np.zeros(len(many), np.float32))
    assert [place for place, _ in tags] == list(range(len(many)))[: -MOST - 1 : -1]
    assert tags[0][1] == 1
    assert all(0 < score <= 1 for _, score in tags)


def test_own_concepts_need_less_and_are_half_of_the_tags_at_most() -> None:
    many = [Concept(f"c{n}", (), (f"c{n}",)) for n in range(30 * MOST)]
    axes = np.eye(len(many) + 1, dtype=np.float32)
    shipped = len(many) - MOST
    found = Tagger(lexicon(many, ["nothing of it"], shipped), axes[:-1], axes[-1:], 60.0)
    shares = np.full((1, len(many)), 0.5, np.float32)
    shares[0, shipped:] = WANTED * found.lexicon.chance[shipped:] * np.linspace(1.08, 1.01, MOST)
    assert shares[0, -1] < 0.075
    (tags,) = found.tags(shares, np.zeros(len(many), np.float32))
    assert [place for place, _ in tags] == [*range(MOST // 2), *range(shipped, shipped + MOST // 2)]
    shares[0, shipped:] *= 0.9
    (tags,) = found.tags(shares, np.zeros(len(many), np.float32))
    assert [place for place, _ in tags] == list(range(MOST))


def test_an_own_concept_that_speaks_of_much_needs_no_more_than_a_shipped_one() -> None:
    own = [*CONCEPTS[:1], *(Concept(tag, (), (tag,), ("animal", "pet")) for tag in ("dog", "cat")), CONCEPTS[CAR]]
    found = lexicon([*own, Concept("pet", (), ("pet",))], SENTENCES, 4)
    least = Tagger(found, AXES[:5], AXES[5:8], 20.0).least(np.zeros(5, np.float32))
    assert WANTED * found.chance[4] > 1
    assert least[4] == np.float32(found.chance[4] + 0.075 * (1 - found.chance[4]))


def test_own_concepts_take_nothing_from_shipped_ones() -> None:
    found = tagger()
    plain = found.shares(unit(0, 1))
    own = Tagger(
        lexicon([*CONCEPTS, Concept("dogs", (), ("my dogs",))], SENTENCES, 4),
        AXES[[0, 1, 2, 3, 1]],
        found.sentences,
        20.0,
    )
    shares = own.shares(unit(0, 1))
    np.testing.assert_allclose(shares[:, :4], plain, rtol=1e-5)
    assert shares[0, 4] > 0.4


def test_a_tag_stands_out_by_so_much_and_no_less() -> None:
    found = tagger()
    chance = found.lexicon.chance
    bound = chance + STANDS_OUT * (1 - chance)
    for shares, tagged in ((bound * 1.001, 4), (bound * 0.999, 0)):
        (tags,) = found.tags(shares[None].astype(np.float32), np.zeros(4, np.float32))
        assert len(tags) == tagged


def test_a_large_logit_scale_does_no_harm() -> None:
    assert named(tagger(2000.0), unit(0, 1)) == ["animal", "dog"]


def test_many_photos_are_tagged_as_each_alone() -> None:
    found = tagger()
    photos = np.concatenate([unit(*np.roll([1.0, 0.4, 0, 0, 0], n)) for n in range(5)] * 500)  # over the chunks' bounds
    np.testing.assert_array_equal(found.shares(photos)[-1], found.shares(photos[-1:])[0])
    assert found.shares(photos[:0]).shape == (0, 4)
