"""Mutated photos cost no more than themselves; `python -m tests.faults.fuzz` reads more of them."""

from __future__ import annotations

import random

from fuzz import fuzz, mutated, sources, table

from indexer.decoding.settings import DecodingSettings


def test_three_hundred_mutated_photos_cost_no_more_than_themselves() -> None:
    outcome = fuzz(300, seed=7, workers=2, settings=DecodingSettings(seconds=20, memory=512))
    assert outcome.wrong == []
    assert set(outcome.tallies) == {"JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIC"}
    assert all(tally.tried >= 37 and tally.refused.total() > 5 for tally in outcome.tallies.values())
    assert sum(tally.decoded for tally in outcome.tallies.values()) > 50  # not all of them are beyond reading
    assert outcome.sound >= 15
    assert table(outcome).count("\n") == 9


def test_the_same_number_is_the_same_file() -> None:
    contents = [content for kind in sources().values() for content in kind]
    once, again = (
        [mutated(content, random.Random(place), contents) for place, content in enumerate(contents)] for _ in range(2)
    )
    assert once == again != contents
