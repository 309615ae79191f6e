from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from search.errors import SightlineError
from search.resources import data_path
from search.vocabulary import DEFAULT_PROMPTS, MOST_OWN, Concept, concepts, implied, read_concepts, sentences


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
    assert 40 <= sum(line.startswith("[") for line in shipped_lines()) <= 70
    assert {"person", "dog", "food", "building", "car", "tree", "water", "sky"} <= {concept.tag for concept in found}


def test_no_shipped_tag_or_synonym_stands_twice() -> None:
    words: Counter[str] = Counter()
    for line in shipped_lines():
        if not line.startswith(("[", "prompts:", "broader:")):
            tag, _, rest = line.partition(" < ")[0].partition(":")
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
        Concept("Rex", ("a photo of Rex", "Rex"), ("Rex",)),
        Concept("our old house", ("a photo of our old house", "our old house"), ("our old house",)),
    ]


def test_a_tag_stands_in_every_prompt_of_its_group_and_its_synonyms_in_the_first(tmp_path: Path) -> None:
    text = "[pets]\nprompts: a photo of a {} | my {}, a {}\ndog: puppy, hound\n[rest]\nsea\n"
    dog, sea = read_concepts(written(tmp_path, text))
    assert dog == Concept(
        "dog",
        (
            "a photo of a dog",
            "my dog, a dog",
            "a photo of a puppy",
            "a photo of a hound",
        ),
        ("dog", "puppy", "hound"),
    )
    assert sea == Concept("sea", ("a photo of sea", "sea"), ("sea",))


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
    assert read_concepts(written(tmp_path, text)) == [
        Concept("my dog", ("a my dog", "a the puppy"), ("my dog", "the puppy"))
    ]


def test_letters_are_the_same_however_they_are_composed(tmp_path: Path) -> None:
    (found,) = read_concepts(written(tmp_path, "cafe\u0301\ncaf\u00e9\n"))
    assert found.tag == "caf\u00e9"


def test_a_tag_that_occurs_twice_is_one_concept_with_all_its_wordings(tmp_path: Path) -> None:
    text = "[pets]\nprompts: a {}\nDog: hound\ncat\n[other]\nprompts: one {} | a {}\ndog\n"
    assert read_concepts(written(tmp_path, text)) == [
        Concept("Dog", ("a Dog", "a hound", "one dog", "a dog"), ("Dog", "hound", "dog")),
        Concept("cat", ("a cat",), ("cat",)),
    ]


def test_the_users_own_concepts_come_after_the_shipped_ones_and_join_them(tmp_path: Path) -> None:
    own = concepts(written(tmp_path, "our cat Mia\ndog: Rex\n"))
    shipped = concepts()
    assert [concept.tag for concept in own] == [*(concept.tag for concept in shipped), "our cat Mia"]
    before = next(concept for concept in shipped if concept.tag == "dog")
    after = next(concept for concept in own if concept.tag == "dog")
    assert after.wordings == (*before.wordings, "a photo of dog", "dog", "a photo of Rex")


def test_braces_and_colons_in_a_users_words_do_no_harm(tmp_path: Path) -> None:
    (found,) = read_concepts(written(tmp_path, "a {0} b: c:d\n"))
    assert found.wordings == ("a photo of a {0} b", "a {0} b", "a photo of c:d")


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
        ("poodle <\n", r"own\.txt, line 1: after < stands what “poodle” is a kind of"),
        ('7" record\n', r"own\.txt, line 1: “7\" record” cannot be asked for; leave out quotes"),
        ("dog: “hound”\n", r"own\.txt, line 1: ““hound”” cannot be asked for"),
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


def test_what_shows_one_thing_shows_what_is_broader(tmp_path: Path) -> None:
    text = "[pets]\nbroader: animal\ndog\nRex: our dog < dog, family\n[home]\nsofa\nanimal\nfamily\n"
    found = {concept.tag: concept for concept in read_concepts(written(tmp_path, text))}
    assert found["Rex"].broader == ("animal", "dog", "family")
    assert found["Rex"].words == ("Rex", "our dog")
    assert (found["dog"].broader, found["sofa"].broader) == (("animal",), ())


def test_what_is_broader_still_is_implied_too_and_circles_do_no_harm(tmp_path: Path) -> None:
    found = concepts(written(tmp_path, "Rex < poodle\nround < about\nabout < round\n"))
    above = implied(found)
    names = {concept.tag: {found[place].tag for place in places} for concept, places in zip(found, above, strict=True)}
    assert {"poodle", "dog", "animal"} <= names["Rex"]
    assert (names["round"], names["about"]) == ({"about"}, {"round"})


def test_own_concepts_may_stand_under_shipped_ones_and_under_nothing_else(tmp_path: Path) -> None:
    own = written(tmp_path, "Rex < DOG, sailboat, sailing boat\n")
    assert concepts(own)[-1].broader == ("dog", "sailing boat")
    own = written(tmp_path, "Rex < dgo\n")
    with pytest.raises(SightlineError, match=r"own\.txt: there is no concept “dgo” to put “Rex” under"):
        concepts(own)


def test_shipped_concepts_never_stand_under_themselves() -> None:
    found = concepts()
    above = implied(found)
    assert [found[one].tag for one, others in enumerate(above) if any(one in above[other] for other in others)] == []


def test_own_concepts_are_not_without_number(tmp_path: Path) -> None:
    own = written(tmp_path, "".join(f"thing {number}\n" for number in range(MOST_OWN + 1)))
    with pytest.raises(SightlineError, match=r"own\.txt has 2,001 concepts; at most 2,000"):
        concepts(own)


def test_control_characters_are_blanks_and_joiners_are_letters(tmp_path: Path) -> None:
    assert read_concepts(written(tmp_path, "می\u200cخواهم\n"))[0].tag == "می\u200cخواهم"
    assert [concept.words for concept in read_concepts(written(tmp_path, b"a\0b: \x1bdog\x07\n"))] == [("a b", "dog")]


def test_the_example_of_the_documentation_can_be_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "tags.md").read_text(encoding="utf-8")
    example = page.split("```")[1]
    found = {concept.tag: concept for concept in concepts(written(tmp_path, example))}
    assert found["dinghy"].broader == ("sailing boat",)
    assert found["narrowboat"].wordings == (
        "a photo of a narrowboat",
        "a narrowboat on the water",
        "a photo of a canal boat",
    )
