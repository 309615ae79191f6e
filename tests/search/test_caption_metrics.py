"""BLEU, ROUGE-L and CIDEr agree with the reference implementation (pycocoevalcap 1.2, whose values stand here), ROUGE-L
and METEOR with published examples."""

from __future__ import annotations

import pytest

from search.caption_metrics import bleu, cider, meteor, rouge_l, words

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


def test_rouge_l() -> None:
    assert rouge_l(CAPTIONS, REFERENCES) == pytest.approx(67.4317153021546, abs=1e-9)


@pytest.mark.parametrize(("caption", "expected"), [("police kill the gunman", 75.0), ("the gunman kill police", 50.0)])
def test_rouge_l_of_its_papers_example(caption: str, expected: float) -> None:
    """Lin, “ROUGE: A Package for Automatic Evaluation of Summaries”, section 3.1."""
    assert rouge_l([caption], [["police killed the gunman"]], beta=1.0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("caption", "expected"),
    [("the cat sat on the mat", 99.77), ("the cat was sat on the mat", 96.54), ("on the mat sat the cat", 50.0)],
)
def test_meteor_of_the_usual_examples(caption: str, expected: float) -> None:
    """Precision, recall and order by the formula of Banerjee and Lavie, as encyclopedias work it out."""
    assert meteor([caption], [["The cat sat on the mat."]]) == pytest.approx(expected, abs=0.01)


def test_meteor_of_nltks_example() -> None:
    references = [
        "It is a guide to action that ensures that the military will forever heed Party commands",
        "It is the guiding principle which guarantees the military forces always being under the command of the Party",
        "It is the practical guide for the army always to heed the directions of the party",
    ]
    caption = "It is a guide to action which ensures that the military always obeys the commands of the party"
    assert meteor([caption], [references]) == pytest.approx(69.44, abs=0.01)


def test_meteor_knows_stems_and_no_synonyms() -> None:
    assert meteor(["a dog running"], [["a dog runs"]]) == meteor(["a dog runs"], [["a dog runs"]])
    assert meteor(["a dog runs"], [["a hound runs"]]) < meteor(["a dog runs"], [["a dog jumps", "a dog run"]])


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
    assert cider([""] * 3, REFERENCES) == meteor([""] * 3, REFERENCES) == rouge_l([""] * 3, REFERENCES) == 0.0
    assert rouge_l(own, REFERENCES) == pytest.approx(100.0)
