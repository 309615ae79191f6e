"""Which concepts a text names."""

from __future__ import annotations

import pytest

from search.mentions import Mentions
from search.vocabulary import Concept

CONCEPTS = [
    Concept(words[0], (), words)
    for words in (
        ("dog", "hound"),
        ("hot dog",),
        ("beach", "sea shore"),
        ("boy",),
        ("boys",),
        ("glasses",),
        ("t-shirt",),
        ("puppy",),
        ("child",),
    )
]
FOUND = Mentions(CONCEPTS)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Two DOGS at the beach", {"dog", "beach"}),
        ("a hound by a sea shore", {"dog", "beach"}),
        ("eating a hot dog", {"hot dog"}),
        ("hot, a dog", {"hot dog"}),
        ("boys and a boy", {"boys", "boy"}),
        ("puppies in a t-shirt", {"puppy", "t-shirt"}),
        ("children in glasses on beaches", {"child", "glasses", "beach"}),
        ("a man with glasses", {"glasses"}),
        ("doghouse, dogged", set()),
        ("", set()),
        ("犬が浜辺を走る", set()),
    ],
)
def test_tags_and_synonyms_are_found_the_longest_first(text: str, named: set[str]) -> None:
    assert {CONCEPTS[place].tag for place in FOUND(text)} == named
