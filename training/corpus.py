"""The texts that the text tower learns from: captions and pieces of them, names of things, and short phrases."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator

from training.wordnet import WordNet

COLOURS = ("red", "blue", "green", "yellow", "black", "white", "brown", "orange", "pink", "purple", "grey")
COUNTS = ("one", "two", "three", "four", "several", "many", "a group of", "a lot of")
# What people type around the thing that they look for.
TEMPLATES = (
    "{}",
    "a {}",
    "the {}",
    "a photo of a {}",
    "a photo of {}",
    "a picture of a {}",
    "a close up of a {}",
    "a small {}",
    "a large {}",
    "an old {}",
    "my {}",
    "a {} outdoors",
    "a {} indoors",
)
PLACES = (
    "on a beach",
    "in the snow",
    "in the water",
    "on the street",
    "in a park",
    "at night",
    "on the grass",
    "indoors",
)
# How a class is put into words for the loss over labels: several wordings, so that no single one is learnt by heart.
PROMPTS = ("{}", "a {}", "a photo of a {}", "a photo of the {}", "a picture of a {}", "a close up photo of a {}")

_WORD = re.compile(r"[a-z']+")


def plain(caption: str) -> str:
    """A caption as most people would type it: lower case, single blanks, no full stop."""
    return re.sub(r"\s+", " ", caption.lower()).strip(" .\"'").replace(" ,", ",").replace(" 's", "'s")


def build(captions: Iterable[str], classes: Iterable[str], wordnet: WordNet | None, seed: int = 0) -> list[str]:
    """All texts to learn, each once, in random order.

    Args:
        captions: as people wrote them.
        classes: of the labelled photos, as WordNet ids or in words.
        wordnet: adds every noun of the dictionary, and tells which of the captions' words are nouns.
        seed: of the choice of pieces and phrases, and of the order.
    """
    rng = random.Random(seed)
    written = list(captions)
    identifiers = list(dict.fromkeys(classes))
    texts = dict.fromkeys(plain(text) for identifier in identifiers for text in class_texts(identifier, wordnet))
    for caption in written:
        clean = plain(caption)
        texts[clean] = None
        if rng.random() < 0.5:  # as it was typed: people's queries may end in a full stop as well
            texts[caption.strip().lower()] = None
        texts.update(dict.fromkeys(_spans(clean, rng)))
    names = [name for identifier in identifiers for name in class_names(identifier, wordnet)]
    nouns = list(dict.fromkeys(_frequent_nouns(written, wordnet) + names))
    texts.update(dict.fromkeys(_phrases(nouns, rng)))
    if wordnet is not None:
        texts.update(dict.fromkeys(name.lower() for name in wordnet.all_names()))
    texts.update(dict.fromkeys(_whole_words()))
    texts.pop("", None)
    mixed = list(texts)
    rng.shuffle(mixed)
    return mixed


def class_names(identifier: str, wordnet: WordNet | None) -> list[str]:
    """What a class is called: the synonyms of a WordNet id, else the class itself."""
    return (wordnet.names(identifier) if wordnet is not None else []) or [identifier]


def class_texts(identifier: str, wordnet: WordNet | None) -> list[str]:
    """The wordings of a class: each synonym in several prompts, and with the kind of thing that it is."""
    names = class_names(identifier, wordnet)
    texts = [prompt.format(name) for name in names for prompt in PROMPTS]
    if wordnet is not None:
        texts += [f"{names[0]}, a kind of {kind}" for kind in wordnet.hypernyms(identifier, 2)]
    return list(dict.fromkeys(texts))


def _spans(caption: str, rng: random.Random) -> Iterator[str]:
    """Two random stretches of two to six words: closer to queries than whole captions are."""
    words = caption.split()
    for _ in range(2):
        length = rng.randint(2, 6)
        start = rng.randint(0, max(0, len(words) - length))
        yield " ".join(words[start : start + length])


def _frequent_nouns(captions: list[str], wordnet: WordNet | None, least: int = 8) -> list[str]:
    """Words of the captions that are nouns (all of them without a dictionary), the commonest first."""
    known = None if wordnet is None else {name.lower() for name in wordnet.all_names()}
    counts = Counter(word for caption in captions for word in _WORD.findall(caption.lower()))
    return [word for word, n in counts.most_common() if n >= least and (known is None or word in known)]


def _phrases(nouns: list[str], rng: random.Random) -> Iterator[str]:
    """Colours, counts, places and pairs of things around each noun."""
    for noun in nouns:
        for template in rng.sample(TEMPLATES, 5):
            yield template.format(noun)
        for colour in rng.sample(COLOURS, 4):
            yield rng.choice(("{} {}", "a {} {}", "the {} {}")).format(colour, noun)
        for count in rng.sample(COUNTS, 2):
            yield f"{count} {noun if noun.endswith('s') else noun + 's'}"
        yield f"a {noun} {rng.choice(PLACES)}"
        other = rng.choice(nouns)
        yield rng.choice(("a {} and a {}", "a {} next to a {}", "a {} on a {}", "{} with {}")).format(noun, other)


def _whole_words() -> Iterator[str]:
    """Every word that is one token of CLIP's vocabulary, so that no common token stays untrained."""
    from open_clip.tokenizer import SimpleTokenizer

    for token in SimpleTokenizer().encoder:
        if token.endswith("</w>") and token[:-4].isalpha() and token.isascii():
            yield token[:-4]
