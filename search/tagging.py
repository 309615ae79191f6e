"""Tags for photos, from their stored embeddings alone: zero-shot, over an open vocabulary that has broader concepts.

A photo is held against every concept and against the bank of sentences, each of which speaks of some concepts
(`Mentions`). The softmax over either, at a part of the model's own logit scale, shares the photo out among texts; a
concept's *share* is what falls on the texts that speak of it or of anything narrower. So a model that cannot tell a
corgi from a beagle still says “dog”, and one that can says so: broader concepts hedge the bets on narrower ones
(after Deng et al., “Hedging your bets: optimizing accuracy-specificity trade-offs in large scale visual recognition”,
CVPR 2012). Prompts are averaged for each concept (Radford et al., “Learning transferable visual models from natural
language supervision”, ICML 2021).

A concept becomes a tag where its share stands out from what it would be by chance, and from what is usual for it in
the library, which is measured once (`usual`) and calibrates each concept's threshold. docs/tags.md has the figures.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from search import vocabulary
from search.mentions import Mentions
from search.vectors.protocol import Floats
from search.vocabulary import Concept, implied

# Chosen on Flickr8k's dev split with the built-in model; docs/tags.md has the figures.
SHARPNESS = 0.45
"""Of the model's logit scale: concepts are not exclusive, as captions are from which the scale was learnt."""
STANDS_OUT = 0.075
"""A tag's share lies by so much of what is left above what it is by chance."""
UNUSUAL, CLEAR = 1.5, 0.25
"""A tag's share is at least so many times what is usual in the library, unless it is as high as this."""
WANTED = 12
"""For a concept of the user's own, so many times chance is enough: whoever adds it would rather see too many photos."""
MOST = 8
"""So many tags a photo has at most; of the user's own half as many, which come first."""
ASSUMED = 100
"""What is usual starts from chance, which counts as so many photos."""
SAMPLE = 1024
"""So many photos, evenly taken from the library, tell what is usual."""
CONSTANTS = (SHARPNESS, STANDS_OUT, UNUSUAL, CLEAR, WANTED, MOST, ASSUMED, SAMPLE)
_CHUNK = 1024


@dataclass(frozen=True)
class Lexicon:
    """Which texts speak of each of `c` concepts: a concept's own text, those of narrower ones, and sentences.

    Attributes:
        texts: for each concept int64[m], the places of those texts: first come the `c` concepts, then the sentences.
        chance: float32[c], the share of each concept in a photo that is equally near to every text.
        shipped: how many concepts, from the first on, a photo is shared out among. Those that follow are the user's
            own, whose shares are taken from no other.
    """

    texts: tuple[npt.NDArray[np.int64], ...]
    chance: Floats
    shipped: int


def lexicon(concepts: Sequence[Concept], sentences: Sequence[str], shipped: int | None = None) -> Lexicon:
    """The lexicon of a vocabulary, all of which is `shipped` unless that is told, and a bank of sentences."""
    shipped = len(concepts) if shipped is None else shipped
    above = implied(concepts)
    speaking: list[list[int]] = [[place] for place in range(len(concepts))]
    for place, broader in enumerate(above):
        for other in broader:
            speaking[other].append(place)
    mentions = Mentions(concepts)
    for number, sentence in enumerate(sentences, start=len(concepts)):
        named = mentions(sentence)
        for place in named.union(*(above[one] for one in named)):
            speaking[place].append(number)
    texts = tuple(np.array(places, dtype=np.int64) for places in speaking)
    # Concepts and sentences share a photo out half and half.
    weights = np.repeat([0.5 / shipped, 0.5 / len(sentences)], [len(concepts), len(sentences)])
    chance = np.array([min(1.0, weights[places].sum()) for places in texts], dtype=np.float32)
    return Lexicon(texts, chance, shipped)


@functools.cache
def shipped_lexicon() -> Lexicon:
    """That of the vocabulary and the sentences that come with Sightline."""
    return lexicon(vocabulary.shipped(), vocabulary.sentences())


@dataclass(frozen=True)
class Tagger:
    """Holds photos against a vocabulary.

    Attributes:
        lexicon: of c concepts and s sentences.
        concepts, sentences: their embeddings, float32[c, d] and float32[s, d], unit length.
        logit_scale: the model's.
    """

    lexicon: Lexicon
    concepts: Floats
    sentences: Floats
    logit_scale: float

    def shares(self, photos: Floats) -> Floats:
        """How much of each photo (float32[n, d], unit length) falls on each concept: float32[n, c], 0 to 1."""
        parts = []
        for start in range(0, len(photos), _CHUNK):
            some = photos[start : start + _CHUNK].T
            texts = np.concatenate(
                [self._softmax(self.concepts @ some, self.lexicon.shipped), self._softmax(self.sentences @ some)]
            )
            shares = texts[: len(self.concepts)].copy()
            for place, speaking in enumerate(self.lexicon.texts):
                if len(speaking) > 1:
                    np.add.reduce(texts[speaking], axis=0, out=shares[place])
            parts.append(np.minimum(shares.T / 2, 1))
        return np.concatenate(parts) if parts else np.empty((0, len(self.concepts)), np.float32)

    def usual(self, photos: Floats) -> Floats:
        """What share each concept usually has in a library, from some of its photos (float32[n, d]): float32[c]."""
        total = ASSUMED * self.lexicon.chance
        for start in range(0, len(photos), _CHUNK):
            total = total + self.shares(photos[start : start + _CHUNK]).sum(axis=0)
        return np.asarray(total / (ASSUMED + len(photos)), dtype=np.float32)

    def least(self, usual: Floats) -> Floats:
        """The share from which on each concept is a tag, where `usual` is usual: float32[c]."""
        chance = self.lexicon.chance
        least = np.maximum(chance + STANDS_OUT * (1 - chance), np.minimum(UNUSUAL * usual, CLEAR))
        own = slice(self.lexicon.shipped, None)
        least[own] = np.minimum(least[own], WANTED * chance[own])
        return np.asarray(least, dtype=np.float32)

    def tags(self, shares: Floats, usual: Floats) -> list[list[tuple[int, float]]]:
        """For each photo, by its shares (float32[n, c]), the places of its tags among the concepts, each with its
        score, best first.

        A score, above 0 and at most 1, is what the share has above chance, of what it could have. Broader concepts of a
        tag that reach their thresholds are tags too.
        """
        chance = self.lexicon.chance
        rows, places = np.nonzero(shares >= self.least(usual))
        scores = (shares[rows, places] - chance[places]) / np.maximum(1 - chance[places], 1e-6)
        found: list[list[tuple[int, float]]] = [[] for _ in range(len(shares))]
        for row, place, score in zip(rows.tolist(), places.tolist(), scores.tolist(), strict=True):
            found[row].append((place, score))
        return [self._best(sorted(some, key=lambda item: (-item[1], item[0]))) for some in found]

    def _best(self, ranked: list[tuple[int, float]]) -> list[tuple[int, float]]:
        own = [item for item in ranked if item[0] >= self.lexicon.shipped][: MOST // 2]
        shipped = [item for item in ranked if item[0] < self.lexicon.shipped][: MOST - len(own)]
        return [item for item in ranked if item in own or item in shipped]

    def _softmax(self, similarities: Floats, among: int | None = None) -> Any:
        """Over the first `among` rows, in place; what is in the rows below counts for nobody else."""
        similarities *= SHARPNESS * self.logit_scale
        similarities -= similarities.max(axis=0)
        np.exp(similarities, out=similarities)
        similarities /= similarities[:among].sum(axis=0)
        return similarities
