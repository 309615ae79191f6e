"""What kind of picture it is, by evidence that the test puts together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from search.kinds import Signals, kinds
from search.vocabulary import concepts

CONCEPTS = concepts()
CHANCE = np.full(len(CONCEPTS), 1 / len(CONCEPTS), np.float32)
PHOTO = Signals(4032, 3024, "JPEG", None, 0.02)


def taken_for(picture: Signals, **evidence: float) -> str:
    """The kind of a picture whose shares of these concepts are so many times chance."""
    shares = CHANCE.copy()
    for place, concept in enumerate(CONCEPTS):
        shares[place] *= evidence.get(concept.tag.replace(" ", "_"), 1)
    (kind,) = kinds(shares[None], CHANCE, CONCEPTS, [picture])
    return kind


def test_whatever_says_nothing_is_a_photo() -> None:
    assert taken_for(PHOTO) == "photo"
    assert taken_for(replace(PHOTO, flatness=None)) == "photo"


def test_what_looks_like_something_else_is_that() -> None:
    flat = replace(PHOTO, format="PNG", flatness=0.5)
    assert taken_for(flat, document=60) == "document"
    assert taken_for(flat, drawing=60, painting=60) == "drawing"
    assert taken_for(replace(flat, width=1170, height=2532), screenshot=30, phone_screen=30) == "screenshot"


def test_the_size_of_a_screen_counts_either_way_round_and_less_where_it_was_saved_with_loss() -> None:
    flat = Signals(2532, 1170, "PNG", None, 0.2)
    assert taken_for(flat) == "screenshot"
    assert taken_for(replace(flat, width=2531)) == "photo"
    weak = replace(flat, flatness=0.02)
    assert [taken_for(replace(weak, format=form)) for form in ("PNG", "JPEG")] == ["screenshot", "photo"]


def test_a_camera_speaks_for_a_photo_but_people_photograph_documents() -> None:
    camera = replace(PHOTO, camera="Canon EOS 80D")
    assert taken_for(replace(camera, width=1170, height=2532, flatness=0.5), screenshot=30) == "photo"
    assert taken_for(replace(camera, flatness=0.3), document=60) == "document"


@pytest.mark.parametrize("count", [0, 3])
def test_each_picture_has_one_kind(count: int) -> None:
    shares = np.repeat(CHANCE[None], count, axis=0)
    assert kinds(shares, CHANCE, CONCEPTS, [PHOTO] * count) == ["photo"] * count
