"""The words that photos are held against: concepts to tag them with, and sentences that stand for any query.

Concepts are data, one a line, so that anyone can add their own; `data/vocabulary/concepts.txt` shows the format.
"""

from __future__ import annotations

import codecs
import functools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from search.errors import SightlineError
from search.query import cleaned
from search.resources import data_path

_CONCEPTS, _SENTENCES = "vocabulary/concepts.txt", "vocabulary/sentences.txt"
DEFAULT_PROMPTS = ("a photo of {}", "{}")
LONGEST_TAG = 80
MOST_OWN = 2000
"""So many concepts a user's own file may have; each photo is held against every one."""

_SAID_WITH_AN = re.compile(
    r"(?!eu|ewe|one|once|u(?:fo|k|ni(?![dmn])|r[aio]|s[aebu]|t[eio]))[aeiou]|hour|heir|honest|x-ray", re.IGNORECASE
)


@dataclass(frozen=True)
class Concept:
    """Something that a photo may show.

    Attributes:
        tag: how it is shown to the user.
        wordings: the tag in each of the group's prompts, and its synonyms in the first.
        words: the tag and its synonyms.
        broader: the tags of what it is a kind of, or cannot be without.
    """

    tag: str
    wordings: tuple[str, ...]
    words: tuple[str, ...]
    broader: tuple[str, ...] = ()


def contents(own: Path | None = None) -> list[bytes]:
    """All that the vocabulary is read from, with the user's `own` file.

    Raises:
        OSError: the latter cannot be read.
        SightlineError: another cannot be.
    """
    return [_shipped_content(_CONCEPTS), _shipped_content(_SENTENCES), *([own.read_bytes()] if own else [])]


@functools.cache
def _shipped_content(name: str) -> bytes:
    """A file that ships with Sightline, as it was first read: where the program is upgraded under a process that lives
    on, concepts and what they are called by stay together."""
    return _read(data_path(name))


@functools.cache
def shipped() -> tuple[Concept, ...]:
    """The concepts that ship with Sightline."""
    return tuple(concepts())


def concepts(own: Path | None = None) -> list[Concept]:
    """The concepts that ship with Sightline, then those of the user's `own` file.

    Raises:
        SightlineError: a file cannot be read as concepts, or puts one under another that there is not.
    """
    found = _parsed(_shipped_content(_CONCEPTS), data_path(_CONCEPTS))
    if own is not None:
        wanted = read_concepts(own)
        if len(wanted) > MOST_OWN:
            raise SightlineError(f"{own} has {len(wanted):,} concepts; at most {MOST_OWN:,} can be taken.")
        found = _joined([*found, *wanted])
    tags = {word.casefold(): concept.tag for concept in found for word in concept.words}
    tags |= {concept.tag.casefold(): concept.tag for concept in found}
    for concept in found:
        for name in concept.broader:
            if name.casefold() not in tags:
                raise SightlineError(
                    f"{own}: there is no concept “{name}” to put “{concept.tag}” under; write it as a line of its own, "
                    "or take the name of another."
                )
    return [
        replace(one, broader=tuple(dict.fromkeys(tags[name.casefold()] for name in one.broader)))
        if one.broader
        else one
        for one in found
    ]


def implied(found: Sequence[Concept]) -> list[set[int]]:
    """For each of `concepts(…)`, the places in the list of all that it implies: what is broader, and broader still."""
    places = {concept.tag: place for place, concept in enumerate(found)}
    next_ones = [[places[tag] for tag in concept.broader] for concept in found]
    reached: list[set[int]] = []
    for place in range(len(found)):
        seen: set[int] = set()
        waiting = list(next_ones[place])
        while waiting:
            one = waiting.pop()
            if one not in seen and one != place:
                seen.add(one)
                waiting += next_ones[one]
        reached.append(seen)
    return reached


def read_concepts(path: Path) -> list[Concept]:
    """The concepts of a file: `[group]`, `prompts: a photo of a {} | …`, and `tag` or `tag: synonym, synonym` a line.

    What shows a `tag < other, another` shows the others too; `broader: other` says so of all that follow in the group.
    Everything but the tags may be left out. A tag that occurs twice, in whatever case, is one concept with all its
    wordings.

    Raises:
        SightlineError: the file cannot be read, or a line of it means nothing.
    """
    return _parsed(_read(path), path)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SightlineError(f"{path} cannot be read: {error.strerror or error}.") from error


def _parsed(content: bytes, path: Path) -> list[Concept]:
    prompts: tuple[str, ...] = DEFAULT_PROMPTS
    broader: tuple[str, ...] = ()
    found = []
    for place, line in _lines(content, path):
        if line.startswith("["):
            if not line.endswith("]"):
                raise SightlineError(f"{place}: the name of a group ends with ], as in [animals].")
            prompts, broader = DEFAULT_PROMPTS, ()
            continue
        line, under, named = f"{line} ".partition(" < ")
        tag, colon, rest = (part.strip() for part in line.partition(":"))
        if colon and tag.casefold() == "prompts":
            prompts = tuple(prompt.strip() for prompt in rest.split("|"))
            if not all("{}" in prompt for prompt in prompts):
                raise SightlineError(
                    f"{place}: every prompt needs {{}}, where the tag goes, as in “a photo of a {{}}”."
                )
            continue
        if colon and tag.casefold() == "broader":
            broader = _listed(rest)
            continue
        if under and not _listed(named):
            raise SightlineError(f"{place}: after < stands what “{tag}” is a kind of, as in “poodle < dog”.")
        if not tag:
            raise SightlineError(f"{place}: there is no tag before the colon.")
        words = (tag, *_listed(rest))
        for word in words:
            if len(word) > LONGEST_TAG:
                raise SightlineError(
                    f"{place}: “{word[:20]}…” has {len(word)} characters, and a tag at most {LONGEST_TAG}."
                )
            if '"' in word or cleaned(word) != word:
                raise SightlineError(f"{place}: “{word}” cannot be asked for; leave out quotes and full-width signs.")
        wordings = (*(_filled(prompt, tag) for prompt in prompts), *(_filled(prompts[0], word) for word in words[1:]))
        above = tuple(other for other in (*broader, *_listed(named)) if other.casefold() != tag.casefold())
        found.append(Concept(tag, wordings, words, above))
    return _joined(found)


@functools.cache
def sentences() -> tuple[str, ...]:
    """Sentences as people might ask for photos, to learn how near a photo is to just any text."""
    return tuple(line for _, line in _lines(_shipped_content(_SENTENCES), data_path(_SENTENCES)))


def _lines(content: bytes, path: Path) -> Iterator[tuple[str, str]]:
    """The lines of the file at `path` that say something, with white space made one, each after its place for an error
    to name."""
    for number, raw in enumerate(content.removeprefix(codecs.BOM_UTF8).splitlines(), start=1):
        place = f"{path}, line {number}"
        try:
            text = unicodedata.normalize("NFC", raw.decode())
            if not text.isprintable():
                text = "".join(" " if unicodedata.category(c) == "Cc" else c for c in text)
            line = " ".join(text.split())
        except UnicodeDecodeError as error:
            raise SightlineError(f"{place}: this is not UTF-8 text; save the file as UTF-8.") from error
        if line and not line.startswith("#"):
            yield place, line


def _listed(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def _filled(prompt: str, word: str) -> str:
    """`word` put into `prompt`, whose “a” before it becomes “an” where it is said so."""
    if _SAID_WITH_AN.match(word):
        prompt = re.sub(r"\b([Aa]) \{\}", r"\1n {}", prompt)
    return prompt.replace("{}", word)


def _joined(found: list[Concept]) -> list[Concept]:
    """Each tag once, as it was first written and where it first stood, with all that its occurrences say of it."""
    by_tag: dict[str, Concept] = {}
    for concept in found:
        key = concept.tag.casefold()
        known = by_tag.get(key)
        by_tag[key] = (
            concept
            if known is None
            else replace(
                known,
                wordings=tuple(dict.fromkeys(known.wordings + concept.wordings)),
                words=tuple(dict.fromkeys(known.words + concept.words)),
                broader=tuple(dict.fromkeys(known.broader + concept.broader)),
            )
        )
    return list(by_tag.values())
