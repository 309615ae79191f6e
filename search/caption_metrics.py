"""How near captions come to what people wrote: BLEU, METEOR, ROUGE-L and CIDEr."""

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


def meteor(captions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """METEOR of a corpus in per cent: the mean over the captions, each against its best reference (Banerjee and Lavie,
    ACL 2005, with the weights of Lavie and Agarwal, WMT 2007).

    Words match where they are the same or have the same Porter stem; synonyms do not count, since WordNet is not at
    hand everywhere. So it is lower than, and not to be compared with, METEOR 1.5 of the COCO evaluation.
    """
    from nltk.translate.meteor_score import meteor_score

    scores: list[float] = [
        meteor_score([words(text) for text in own], words(caption), wordnet=_NoSynonyms())
        for caption, own in zip(captions, references, strict=True)
    ]
    return 100 * sum(scores) / len(scores)


def rouge_l(captions: Sequence[str], references: Sequence[Sequence[str]], beta: float = 1.2) -> float:
    """ROUGE-L of a corpus in per cent: the mean over the captions of the F measure of their longest common subsequences
    with the references (Lin, ACL 2004 workshop), `beta` times as much weight on recall as on precision.

    As the COCO evaluation has it, `beta` is 1.2, and precision and recall are those of the best reference for each.
    """
    scores = []
    for caption, own in zip(captions, references, strict=True):
        found, wanted = words(caption), [words(reference) for reference in own]
        common = [_longest_common(found, other) for other in wanted]
        precision = max(common) / max(1, len(found))
        recall = max(length / max(1, len(other)) for length, other in zip(common, wanted, strict=True))
        weighted = recall + beta**2 * precision
        scores.append((1 + beta**2) * precision * recall / weighted if weighted else 0.0)
    return 100 * sum(scores) / len(scores)


def _longest_common(first: list[str], second: list[str]) -> int:
    """How many words the longest common subsequence has."""
    lengths = [0] * (len(second) + 1)
    for word in first:
        before = lengths
        lengths = [0]
        for place, other in enumerate(second):
            lengths.append(before[place] + 1 if word == other else max(before[place + 1], lengths[place]))
    return lengths[-1]


class _NoSynonyms:
    """A WordNet in which no word stands."""

    def synsets(self, word: str) -> list[object]:
        return []


def _ngrams(tokens: list[str], n: int) -> NGrams:
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


def _norm(vector: dict[tuple[str, ...], float]) -> float:
    return math.sqrt(sum(value * value for value in vector.values()))
