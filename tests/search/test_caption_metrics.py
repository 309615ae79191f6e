"""BLEU and CIDEr agree with the reference implementation (pycocoevalcap 1.2, whose values stand here)."""

from __future__ import annotations

import pytest

from search.caption_metrics import bleu, cider, words

CAPTIONS = ["a dog runs on the beach", "two children play football", "a man rides a bike down the street"]
REFERENCES = [
    ["a brown dog is running on the beach", "a dog runs along the sand"],
    ["two kids are playing football on grass", "two children play with a ball"],
    ["a man rides a bicycle", "a person on a bike rides down a busy street"],
]


def test_bleu() -> None:
    expected = [75.6251991559624, 63.53787613689462, 51.26033265824191, 33.08628196958141]
    assert bleu(CAPTIONS, REFERENCES) == pytest.approx(expected, abs=1e-4)


def test_cider() -> None:
    assert cider(CAPTIONS, REFERENCES) == pytest.approx(2.7466729873111837, abs=1e-9)


def test_case_and_punctuation_do_not_count() -> None:
    assert words("A man's best-friend, it seems .") == ["a", "man", "'s", "best-friend", "it", "seems"]
    assert words("a man 's dog") == words("A man's dog!")
    shouted = [caption.upper() + " !" for caption in CAPTIONS]
    assert bleu(shouted, REFERENCES) == bleu(CAPTIONS, REFERENCES)


def test_perfect_captions_and_empty_ones() -> None:
    own = [references[0] for references in REFERENCES]
    assert bleu(own, REFERENCES) == pytest.approx([100.0] * 4)
    assert cider(own, [[text] for text in own]) == pytest.approx(10.0)
    assert bleu([""] * 3, REFERENCES) == [0.0] * 4
    assert cider([""] * 3, REFERENCES) == 0.0
