"""The words that photos are held against: concepts to tag them with, and sentences that stand for any query.

Concepts are data, one a line, so that anyone can add their own; `data/vocabulary/concepts.txt` shows the format.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from search.errors import SightlineError
from search.resources import data_path

OWN_GROUP = "own"
DEFAULT_PROMPTS = ("a photo of {}", "{}")
LONGEST_TAG = 80

_SAID_WITH_AN = re.compile(
    r"(?!eu|ewe|one|once|u(?:fo|k|ni(?![dmn])|r[aio]|s[aebu]|t[eio]))[aeiou]|hour|heir|honest|x-ray", re.IGNORECASE
)


@dataclass(frozen=True)
class Concept:
    """Something that a photo may show.

    Attributes:
        tag: how it is shown to the user.
        group: what it belongs with, such as `animals`.
        wordings: the tag and its synonyms in each of the group's prompts.
    """

    tag: str
    group: str
    wordings: tuple[str, ...]


def concepts(own: Path | None = None) -> list[Concept]:
    """The concepts that ship with Sightline, then those of the user's `own` file.

    Raises:
        SightlineError: a file cannot be read as concepts.
    """
    shipped = read_concepts(data_path("vocabulary/concepts.txt"))
    return shipped if own is None else _joined([*shipped, *read_concepts(own)])


def read_concepts(path: Path) -> list[Concept]:
    """The concepts of a file: `[group]`, `prompts: a photo of a {} | …`, and `tag` or `tag: synonym, synonym` a line.

    Groups and prompts may be left out. A tag that occurs twice, in whatever case, is one concept with all its wordings.

    Raises:
        SightlineError: the file cannot be read, or a line of it means nothing.
    """
    group = OWN_GROUP
    prompts: tuple[str, ...] = DEFAULT_PROMPTS
    found = []
    for place, line in _lines(path):
        if line.startswith("["):
            if not line.endswith("]"):
                raise SightlineError(f"{place}: the name of a group ends with ], as in [animals].")
            group, prompts = line[1:-1].strip() or OWN_GROUP, DEFAULT_PROMPTS
            continue
        tag, colon, rest = (part.strip() for part in line.partition(":"))
        if colon and tag.casefold() == "prompts":
            prompts = tuple(prompt.strip() for prompt in rest.split("|"))
            if not all("{}" in prompt for prompt in prompts):
                raise SightlineError(
                    f"{place}: every prompt needs {{}}, where the tag goes, as in “a photo of a {{}}”."
                )
            continue
        if not tag:
            raise SightlineError(f"{place}: there is no tag before the colon.")
        words = [tag, *filter(None, (synonym.strip() for synonym in rest.split(",")))]
        for word in words:
            if len(word) > LONGEST_TAG:
                raise SightlineError(
                    f"{place}: “{word[:20]}…” has {len(word)} characters, and a tag at most {LONGEST_TAG}."
                )
        found.append(Concept(tag, group, tuple(_filled(prompt, word) for word in words for prompt in prompts)))
    return _joined(found)


def sentences() -> list[str]:
    """Sentences as people might ask for photos, to learn how near a photo is to just any text."""
    return [line for _, line in _lines(data_path("vocabulary/sentences.txt"))]


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """The lines that say something, with white space made one, each after its place for an error to name."""
    try:
        content = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise SightlineError(f"{path} cannot be read: {error.strerror or error}.") from error
    for number, raw in enumerate(content.splitlines(), start=1):
        place = f"{path}, line {number}"
        try:
            line = " ".join(unicodedata.normalize("NFC", raw.decode()).split())
        except UnicodeDecodeError as error:
            raise SightlineError(f"{place}: this is not UTF-8 text; save the file as UTF-8.") from error
        if line and not line.startswith("#"):
            yield place, line


def _filled(prompt: str, word: str) -> str:
    """`word` put into `prompt`, whose “a” before it becomes “an” where it is said so."""
    if _SAID_WITH_AN.match(word):
        prompt = re.sub(r"\b([Aa]) \{\}", r"\1n {}", prompt)
    return prompt.replace("{}", word)


def _joined(found: list[Concept]) -> list[Concept]:
    """Each tag once, as it was first written and where it first stood, with the wordings of all its occurrences."""
    by_tag: dict[str, Concept] = {}
    for concept in found:
        known = by_tag.setdefault(concept.tag.casefold(), replace(concept, wordings=()))
        wordings = tuple(dict.fromkeys(known.wordings + concept.wordings))
        by_tag[concept.tag.casefold()] = replace(known, wordings=wordings)
    return list(by_tag.values())
