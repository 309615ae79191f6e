from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from search.errors import SightlineError
from search.resources import data_path
from search.vocabulary import DEFAULT_PROMPTS, Concept, concepts, read_concepts, sentences


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "own.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def shipped_lines() -> list[str]:
    lines = data_path("vocabulary/concepts.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_the_shipped_concepts_are_many_and_in_many_groups() -> None:
    found = concepts()
    assert 2800 <= len(found) <= 3300
    assert 40 <= len({concept.group for concept in found}) <= 70
    assert {"person", "dog", "food", "building", "car", "tree", "water", "sky"} <= {concept.tag for concept in found}


def test_no_shipped_tag_or_synonym_stands_twice() -> None:
    words: Counter[str] = Counter()
    for line in shipped_lines():
        if not line.startswith(("[", "prompts:")):
            tag, _, rest = line.partition(":")
            words.update(word.strip().casefold() for word in (tag, *rest.split(",")) if word.strip())
    assert sum(words.values()) > 3000
    assert [word for word, times in words.items() if times > 1] == []


def test_shipped_tags_are_short_and_in_lower_case() -> None:
    tags = [concept.tag for concept in concepts()]
    assert [tag for tag in tags if len(tag.split()) > 4] == []
    assert [tag for tag in tags if tag != tag.lower()] == []


def test_every_shipped_group_has_two_to_four_prompts_of_its_own() -> None:
    lines = shipped_lines()
    headers = [number for number, line in enumerate(lines) if line.startswith("[")]
    assert len({lines[number] for number in headers}) == len(headers)
    assert [lines[number] for number in headers if not lines[number + 1].startswith("prompts: ")] == []
    assert {lines[number + 1].count("{}") for number in headers} <= {2, 3, 4}


def test_articles_fit_the_shipped_words() -> None:
    wordings = [wording for concept in concepts() for wording in concept.wordings]
    doubled = re.compile(r"\b(?:a|an|the|some) (?:a|an|the|some)\b")
    unfit = re.compile(r"\ba (?!one|uni|uk|us)[aeiou]|\ban (?!hour|x-ray)[^aeiou]")
    assert [wording for wording in wordings if doubled.search(wording) or unfit.search(wording)] == []


def test_the_shipped_sentences_are_many_short_and_all_different() -> None:
    found = sentences()
    assert 2300 <= len(found) <= 3000
    assert len({sentence.casefold() for sentence in found}) == len(found)
    assert [sentence for sentence in found if not 3 <= len(sentence.split()) <= 20] == []
    assert [sentence for sentence in found if sentence[0].isupper() or sentence.endswith(".")] == []


def test_no_opening_dominates_the_sentences() -> None:
    openings = Counter(" ".join(sentence.split()[:3]) for sentence in sentences())
    assert openings.most_common(1)[0][1] <= 40


def test_plain_lines_are_concepts_of_the_users_own(tmp_path: Path) -> None:
    assert read_concepts(written(tmp_path, "Rex\nour old house\n")) == [
        Concept("Rex", "own", ("a photo of Rex", "Rex")),
        Concept("our old house", "own", ("a photo of our old house", "our old house")),
    ]


def test_every_wording_stands_in_every_prompt_of_its_group(tmp_path: Path) -> None:
    text = "[pets]\nprompts: a photo of a {} | my {}, a {}\ndog: puppy, hound\n[rest]\nsea\n"
    dog, sea = read_concepts(written(tmp_path, text))
    assert dog == Concept(
        "dog",
        "pets",
        (
            "a photo of a dog",
            "my dog, a dog",
            "a photo of a puppy",
            "my puppy, a puppy",
            "a photo of a hound",
            "my hound, a hound",
        ),
    )
    assert sea == Concept("sea", "rest", ("a photo of sea", "sea"))


@pytest.mark.parametrize("word", ["apple", "Igloo", "umbrella", "upside-down photo", "uninhabited island", "hourglass"])
def test_a_becomes_an_before_a_vowel(tmp_path: Path, word: str) -> None:
    (found,) = read_concepts(written(tmp_path, f"[x]\nprompts: a {{}} | A {{}} | sauna {{}}\n{word}\n"))
    assert found.wordings == (f"an {word}", f"An {word}", f"sauna {word}")


@pytest.mark.parametrize("word", ["dog", "uniform", "unicorn", "ukulele", "usb stick", "onesie", "eucalyptus", "house"])
def test_a_stays_a_where_no_vowel_is_heard(tmp_path: Path, word: str) -> None:
    (found,) = read_concepts(written(tmp_path, f"[x]\nprompts: a {{}}\n{word}\n"))
    assert found.wordings == (f"a {word}",)


def test_comments_blank_lines_white_space_and_a_byte_order_mark_do_not_count(tmp_path: Path) -> None:
    text = "\ufeff[ pets ]\r\n\r\n# a comment\r\n  prompts:  a\t{}  \r\n  my   dog :  the\u00a0puppy , \r\n"
    assert read_concepts(written(tmp_path, text)) == [Concept("my dog", "pets", ("a my dog", "a the puppy"))]


def test_letters_are_the_same_however_they_are_composed(tmp_path: Path) -> None:
    (found,) = read_concepts(written(tmp_path, "cafe\u0301\ncaf\u00e9\n"))
    assert found.tag == "caf\u00e9"


def test_a_tag_that_occurs_twice_is_one_concept_with_all_its_wordings(tmp_path: Path) -> None:
    text = "[pets]\nprompts: a {}\nDog: hound\ncat\n[other]\nprompts: one {} | a {}\ndog\n"
    assert read_concepts(written(tmp_path, text)) == [
        Concept("Dog", "pets", ("a Dog", "a hound", "one dog", "a dog")),
        Concept("cat", "pets", ("a cat",)),
    ]


def test_the_users_own_concepts_come_after_the_shipped_ones_and_join_them(tmp_path: Path) -> None:
    own = concepts(written(tmp_path, "our cat Mia\ndog: Rex\n"))
    shipped = concepts()
    assert [concept.tag for concept in own] == [*(concept.tag for concept in shipped), "our cat Mia"]
    before = next(concept for concept in shipped if concept.tag == "dog")
    after = next(concept for concept in own if concept.tag == "dog")
    assert after.group == before.group
    assert after.wordings == (*before.wordings, "a photo of dog", "dog", "a photo of Rex", "Rex")


def test_braces_and_colons_in_a_users_words_do_no_harm(tmp_path: Path) -> None:
    (found,) = read_concepts(written(tmp_path, "a {0} b: c:d\n"))
    assert found.wordings == ("a photo of a {0} b", "a {0} b", "a photo of c:d", "c:d")


def test_the_word_prompts_alone_is_a_tag(tmp_path: Path) -> None:
    (found,) = read_concepts(written(tmp_path, "prompts\n"))
    assert found.wordings == tuple(prompt.replace("{}", "prompts") for prompt in DEFAULT_PROMPTS)


def test_an_empty_file_has_no_concepts(tmp_path: Path) -> None:
    assert read_concepts(written(tmp_path, "\n# nothing yet\n")) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[x]\nprompts: a {} | a photo\n", r"own\.txt, line 2: every prompt needs \{\}"),
        ("[x]\nprompts:\n", r"own\.txt, line 2: every prompt needs \{\}"),
        (b"dog\n\ncaf\xe9\n", r"own\.txt, line 3: this is not UTF-8"),
        ("dog\n" + "x" * 81, r"own\.txt, line 2: “x{20}…” has 81 characters, and a tag at most 80\."),
        ("dog: " + "y" * 90, r"own\.txt, line 1: “y{20}…” has 90 characters, and a tag at most 80\."),
        ("dog\n: puppy\n", r"own\.txt, line 2: there is no tag before the colon\."),
        ("[pets\ndog\n", r"own\.txt, line 1: the name of a group ends with \]"),
    ],
)
def test_a_line_that_means_nothing_is_said(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    with pytest.raises(SightlineError, match=sentence):
        read_concepts(written(tmp_path, text))


def test_a_tag_of_eighty_characters_is_taken(tmp_path: Path) -> None:
    assert [len(concept.tag) for concept in read_concepts(written(tmp_path, "x" * 80))] == [80]


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(SightlineError, match=r"missing\.txt cannot be read: No such file"):
        concepts(tmp_path / "missing.txt")
    with pytest.raises(SightlineError, match="cannot be read"):
        read_concepts(tmp_path)
