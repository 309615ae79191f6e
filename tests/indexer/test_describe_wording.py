"""Captions are tidied: what people would not write goes, what they would write stays."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.describe.wording import LONGEST, tidy

PIECES = ["a", "dog", "on", "the", "bike", "and", "'", "s", "t", "-", ",", ".", "?", '"', "**", "ß", "of", "Sure!"]
PIECES += ["Caption:", "a photo of", "This image shows", "Here is a caption:", "\x00", "\u202e", "\n", "  "]
TEXTS = st.text() | st.lists(st.sampled_from(PIECES)).map(" ".join)


@pytest.mark.parametrize(
    ("written", "tidied"),
    [
        ("a man on a bike on a bike on a bike", "A man on a bike"),
        ("a cat and a dog and a cat and a dog", "A cat and a dog"),
        ("a dog, a dog, a dog, and a cat", "A dog, and a cat"),
        ("a dog dog dog dog", "A dog"),
        ("the the dog", "The dog"),
        ("a tuk tuk on the street", "A tuk tuk on the street"),
        ("a man in a blue shirt and a woman in a blue shirt", "A man in a blue shirt and a woman in a blue shirt"),
        ("two dogs sit side by side .", "Two dogs sit side by side"),
        ("a woman ' s hat , and a t - shirt", "A woman's hat, and a t-shirt"),
        ("a man standing next to a", "A man standing next to"),
        ("  a\tdog\non\x00the\x1b[31m beach\u202e.", "A dog on the [31m beach"),
        ('Sure! Here is a short caption: "A dog runs."', "A dog runs"),
        ("**Caption:** A dog runs.", "A dog runs"),
        ("This image shows a dog.", "A dog"),
        ("a photo of a dog", "A dog"),
        ("a picture of", "A picture"),
        ('"Stop" sign on a pole', '"Stop" sign on a pole'),
        ("is it a dog?", "Is it a dog?"),
        ("the Eiffel Tower in Paris", "The Eiffel Tower in Paris"),
        ("ein straßenhund", "Ein straßenhund"),
        ("ßs", "ßs"),
        ("犬が海辺を走っている。", "犬が海辺を走っている。"),
        ("", ""),
        (" . ", ""),
    ],
)
def test_captions_as_people_write_them(written: str, tidied: str) -> None:
    assert tidy(written) == tidied


def test_an_echo_of_the_prompt_goes() -> None:
    assert tidy("describe the photo: a dog", "Describe the photo") == "A dog"


@pytest.mark.parametrize("part", ["A dog runs along the beach. ", "dog{} cat{} ", "x"])
def test_a_long_answer_ends_with_a_whole_sentence_or_a_whole_word(part: str) -> None:
    text = "".join(part.format(number, number) for number in range(400))
    short = tidy(text)
    assert len(short) <= LONGEST
    assert part == "x" or text.casefold().startswith(short.casefold()) or short == "A dog runs along the beach"
    assert part == "x" or text[len(short)] in " ."


@given(TEXTS)
def test_tidying_twice_changes_nothing_more(text: str) -> None:
    assert tidy(tidy(text)) == tidy(text)


@given(TEXTS)
def test_tidying_never_lengthens_and_leaves_one_storable_line(text: str) -> None:
    short = tidy(text)
    assert len(short) <= min(len(text), LONGEST)
    assert short == short.strip() and short.isprintable() | any(unicodedata.category(c) == "Cf" for c in short)
    short.encode()


@given(st.lists(st.sampled_from(["cat", "dog", "red", "car", "runs", "fast", "boat"]), min_size=1, unique=True))
def test_plain_words_stay_as_they_are(words: list[str]) -> None:
    assert tidy(" ".join(words)) == " ".join(words).capitalize()
