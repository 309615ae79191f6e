"""How near captions come to what people wrote: BLEU and CIDEr."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

NGrams = Counter[tuple[str, ...]]

_WORDS = re.compile(r"['’]\w+|\w+(?:-\w+)*")
_LONGEST = 4


def words(caption: str) -> list[str]:
    """A caption's words in lower case, without punctuation; a possessive `'s` is a word of its own.

    Nearly the words of the Penn Treebank tokenizer with which captions are usually evaluated.
    """
    return _WORDS.findall(caption.lower())


def bleu(captions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """BLEU-1 to BLEU-4 of a corpus in per cent, each caption against its references (Papineni et al., ACL 2002).

    The brevity penalty takes the reference of the nearest length, the shorter of two; nothing is smoothed.
    """
    right, total = [0] * _LONGEST, [0] * _LONGEST
    length = reference_length = 0
    for caption, own in zip(captions, references, strict=True):
        found, wanted = words(caption), [words(reference) for reference in own]
        length += len(found)
        reference_length += min((abs(len(other) - len(found)), len(other)) for other in wanted)[1]
        for n in range(_LONGEST):
            grams = _ngrams(found, n + 1)
            most: NGrams = Counter()
            for other in wanted:
                most |= _ngrams(other, n + 1)
            right[n] += sum((grams & most).values())
            total[n] += sum(grams.values())
    penalty = 1.0 if length > reference_length else math.exp(1 - reference_length / max(1, length))
    scores, product = [], 1.0
    for n in range(_LONGEST):
        product *= right[n] / total[n] if total[n] else 0.0
        scores.append(100 * penalty * product ** (1 / (n + 1)))
    return scores


def cider(captions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """CIDEr-D of a corpus, 10 at most and around 1 for good captions (Vedantam et al., CVPR 2015).

    n-grams of one to four words are weighted by how few of the photos' references hold them, counts are clipped, and
    differing lengths cost by a Gaussian of 6 words. A single photo has nothing to be weighted against: it scores 0.
    """
    wanted = [[[_ngrams(words(text), n + 1) for n in range(_LONGEST)] for text in own] for own in references]
    holders: list[Counter[tuple[str, ...]]] = [Counter() for _ in range(_LONGEST)]
    for own in wanted:
        for n in range(_LONGEST):
            holders[n].update({gram for reference in own for gram in reference[n]})
    total = math.log(len(captions))

    def weighted(grams: NGrams, n: int) -> dict[tuple[str, ...], float]:
        return {gram: count * (total - math.log(max(1, holders[n][gram]))) for gram, count in grams.items()}

    scores = []
    for caption, own in zip(captions, wanted, strict=True):
        found = words(caption)
        sums = 0.0
        for n in range(_LONGEST):
            mine = weighted(_ngrams(found, n + 1), n)
            for reference in own:
                theirs = weighted(reference[n], n)
                dot = sum(min(value, theirs[gram]) * theirs[gram] for gram, value in mine.items() if gram in theirs)
                norms = _norm(mine) * _norm(theirs)
                # As the reference implementation has it, lengths are compared in pairs of words.
                difference = sum(reference[1].values()) - max(0, len(found) - 1)
                sums += (dot / norms if norms else 0.0) * math.exp(-(difference**2) / (2 * 6.0**2))
        scores.append(10 * sums / (_LONGEST * len(own)))
    return sum(scores) / len(scores)


def _ngrams(tokens: list[str], n: int) -> NGrams:
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


def _norm(vector: dict[tuple[str, ...], float]) -> float:
    return math.sqrt(sum(value * value for value in vector.values()))
