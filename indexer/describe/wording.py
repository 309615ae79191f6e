"""Captions as people write them: what captioners leave behind (blanks, stammering, echoes) is taken away."""

from __future__ import annotations

import re
import unicodedata
from itertools import groupby

LONGEST = 300
"""No caption has more characters."""

# Joiners decide how letters of some scripts and emoji are drawn; all other invisible characters go.
_JOINERS = "\u200c\u200d"
_PUNCTUATION = ".,;:!?…-–—"
# What a decoder that was cut off ends in, and no sentence does.
_DANGLING = {"a", "an", "the", "and", "or", "of"}
# Words that never stand twice in a row; others may (a tuk tuk, Bora Bora).
_NEVER_DOUBLE = _DANGLING | {"", "at", "for", "from", "in", "is", "on", "to", "with"}
_JOINING = {"and", "or", "with"}

_PREAMBLES = re.compile(
    r"""^(?:
        (?:sure|certainly|of\ course)[,.!]\s*
      | here(?:['’]s|\ is)\b[^:]{0,60}\b(?:caption|description|sentence)\b[^:]{0,30}:\s*
      | (?:caption|description|answer|alt\ text)\s*:\s*
      | (?:this|the)\ (?:photo|photograph|picture|image)\ (?:shows|depicts|features|captures)\s+
      | (?:this\ is\ )?an?\ (?:photo|photograph|picture|image)\ of\s+
    )(?=\S)""",
    re.IGNORECASE | re.VERBOSE,
)
_QUOTED = re.compile(r"""^["“*_]+([^"“”*]+?)["”*_]+$""")


def tidy(text: str, prompt: str = "") -> str:
    """`text` as one line in sentence case, of at most `LONGEST` characters and never longer than it was.

    Control characters, the blanks that tokenizers leave, quotation marks around the whole, an echo of the `prompt`,
    openings such as “This image shows” and the mark at the end go; n-grams that are repeated at once are cut to one.
    Tidying twice changes nothing more.

    >>> tidy("a man on a bike on a bike on a bike .")
    'A man on a bike'
    """
    # Taking one thing away may lay bare another: a label within quotation marks, say.
    while (tidier := _once(text, prompt)) != text:
        text = tidier
    return text


def _once(text: str, prompt: str) -> str:
    text = " ".join(_visible(text).split())
    if prompt and text.casefold().startswith(prompt.casefold()):
        text = text[len(prompt) :].lstrip(f" {_PUNCTUATION}")
    text = _PREAMBLES.sub("", re.sub(r"\*\*|`", "", text))  # bold and code, as chat models write
    text = re.sub(r"\s+(?=[,.;:!?](?:\s|$))", "", text)
    text = re.sub(r"(?<=\w)\s*(['’])\s*(?=(?:s|t|d|m|re|ve|ll)\b)", r"\1", text)
    text = re.sub(r"\b(\w) - (?=\w)", r"\1-", text)  # a t-shirt, taken apart by BERT's tokenizer
    words = _without_repeats(_shortened(text).split())
    while words and words[-1] in _DANGLING:
        del words[-1]
    text = _QUOTED.sub(r"\1", " ".join(words).rstrip(f" {_PUNCTUATION.replace('!', '').replace('?', '')}"))
    first = text[:1].upper()
    return (first if len(first) == 1 else text[:1]) + text[1:]  # ß would become two letters


def _visible(text: str) -> str:
    """Control characters as blanks; without half characters, private ones and those that only steer the drawing."""
    kinds = ((character, unicodedata.category(character)) for character in text)
    return "".join(
        " " if kind == "Cc" else character
        for character, kind in kinds
        if kind not in ("Cs", "Co", "Cn", "Cf") or character in _JOINERS
    )


def _shortened(text: str) -> str:
    """The whole sentences that fit into `LONGEST`, or else the whole words."""
    if len(text) <= LONGEST:
        return text
    text = text[:LONGEST]
    sentences, end, _ = text.rpartition(". ")
    return sentences if end else text.rpartition(" ")[0] or text


def _without_repeats(words: list[str]) -> list[str]:
    """Each word and each n-gram that is followed by itself, at once or after an “and”, only once; long ones first."""
    runs = [list(run) for _, run in groupby(words, key=_key)]
    words = [word for run in runs for word in (run if len(run) == 2 and _key(run[0]) not in _NEVER_DOUBLE else run[:1])]
    keys = [_key(word) for word in words]
    for size in range(len(words) // 2, 1, -1):
        start = 0
        while start + 2 * size <= len(words):
            joined = size > 2 and keys[start + size] in _JOINING
            for gap in (0, 1) if joined else (0,):
                again = start + size + gap
                if keys[start : start + size] == keys[again : again + size]:
                    del words[start + size : again + size], keys[start + size : again + size]
                    break
            else:
                start += 1
    return words


def _key(word: str) -> str:
    return word.casefold().strip(_PUNCTUATION)
