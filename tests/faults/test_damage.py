"""Each kind of damage: it never ends in a stack trace, is found, and what is mended is sound again."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults.base import Base
from faults.damage import FAULTS, Outcome, one_round

pytestmark = pytest.mark.usefixtures("loaded_once")
SEEDS = range(6)
"""As many more are tried as a test may take; `python -m tests.faults.damage` tries thousands."""

UNTOLD = {
    "backgrounds", "calibrations", "captions", "descriptions", "files", "jobs", "levels", "libraries", "models",
    "parts_found", "photos", "searches", "settings", "tags", "texts", "words_found",
}  # fmt: skip
"""Tables of which not every value is known elsewhere: times, measures, sizes, what a camera wrote. (Of a full-text
index SQLite's own check passes over a few bits in a thousand.) Embeddings, names of tags, words and dismissals are."""


def told_of(base: Base, fault: str, seed: int, work: Path) -> Outcome:
    outcome = one_round(base, fault, seed, work)
    assert not outcome.crash, outcome
    assert outcome.answered in ("same", "sentence") or outcome.found, outcome
    return outcome


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if not fault.startswith("catalog: one")])
def test_damage_is_found_and_mended(sound: Base, fault: str, tmp_path: Path) -> None:
    outcome = told_of(sound, fault, 1, tmp_path)
    assert outcome.found or outcome.harmless, outcome
    if fault == "catalog: deleted":
        assert outcome.answered == "sentence" and not outcome.repaired
        return
    assert outcome.repaired and outcome.kept_all, outcome
    if fault.startswith("catalog"):
        assert fault == "catalog: truncated" or not +outcome.lost, outcome
    else:  # the right answers, at once
        assert (outcome.answered, outcome.answered_after, +outcome.lost) == ("same", "same", {}), outcome


def test_single_bits_of_the_catalog_lose_nothing_that_a_person_made(sound: Base, tmp_path: Path) -> None:
    outcomes = [told_of(sound, "catalog: one bit flipped", seed, tmp_path) for seed in SEEDS]
    for outcome in outcomes:
        assert outcome.repaired and outcome.kept_all and not +outcome.lost, outcome
        unnoticed = set() if outcome.found else {one.partition(":")[0] for one in outcome.differs}
        assert unnoticed <= UNTOLD, outcome
    assert any(outcome.found for outcome in outcomes)
