"""What the image tower is to learn, gathered once: pictures, the teacher's maps, and texts in the teacher's space."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training.corpus import class_texts
from training.head import TeacherHead, fold_of
from training.pictures import Pictures, load
from training.recipe import PhotoSet, Recipe, RecipeError, read_captions
from training.run import Run
from training.sentences import Sentences
from training.teacher import load_maps
from training.wordnet import WordNet

# Of each class so many wordings are learnt, of each captioned picture so many captions; few are repeated.
WORDINGS, CAPTIONS = 12, 5


@dataclass(frozen=True)
class LearningSet:
    """One photo set: `maps` int8 [n, h, w, c]; `labels` int64 [n], -1 where a picture has none; `captions` int64
    [n, k], rows of the bank of captions, or None; `folds` int64 [n], see `training.head`, -1 where there are none."""

    pictures: Pictures
    maps: npt.NDArray[np.int8]
    share: int
    labels: Tensor
    captions: Tensor | None
    folds: Tensor


@dataclass(frozen=True)
class Targets:
    """Everything that the image tower learns from.

    Attributes:
        sets: the photo sets.
        classes: their classes, as WordNet ids or in words, in the order of the labels.
        prompts: float32 [classes, wordings, d], unit embeddings of each class's wordings.
        captions: float32 [m, d], unit embeddings of all captions of the sets.
        strength: float32 [c], by how much each component of the maps counts.
    """

    sets: list[LearningSet]
    classes: list[str]
    prompts: Tensor
    captions: Tensor
    strength: Tensor


def class_numbers(pictures: Pictures, classes: list[str]) -> Tensor:
    """Each picture's place in `classes`, int64 [n]; -1 where it has no class."""
    numbers = {name: number for number, name in enumerate(classes)}
    return torch.tensor([-1 if name is None else numbers[name] for name in pictures.classes])


def class_list(sets: list[Pictures]) -> list[str]:
    """All classes of the sets, each once, in the order in which they are met."""
    return list(dict.fromkeys(name for pictures in sets for name in pictures.classes if name is not None))


def repeated(texts: list[str], n: int) -> list[str]:
    """The first `n` of `texts`, begun again from the first where there are fewer."""
    return [texts[i % len(texts)] for i in range(n)]


def class_wordings(classes: list[str], wordnet: WordNet | None) -> list[list[str]]:
    """WORDINGS wordings of each class."""
    return [repeated(class_texts(name, wordnet), WORDINGS) for name in classes]


def class_sentences(classes: list[str], wordnet: WordNet | None, sentences: Sentences) -> Tensor:
    """The sentence embeddings of each class's wordings, float32 [classes, WORDINGS, s]."""
    rows = [sentences[own] for own in class_wordings(classes, wordnet)]
    return torch.from_numpy(np.stack(rows) if rows else np.empty((0, WORDINGS, sentences.width), np.float32))


def caption_sentences(photos: PhotoSet, pictures: Pictures, sentences: Sentences) -> Tensor:
    """The sentence embeddings of each picture's captions, float32 [n, CAPTIONS, s]."""
    captions = picture_captions(photos, pictures)
    return torch.from_numpy(np.stack([sentences[repeated(own, CAPTIONS)] for own in captions]))


def picture_captions(photos: PhotoSet, pictures: Pictures) -> list[list[str]]:
    """Each picture's captions, as people wrote them.

    Raises:
        RecipeError: a picture has none.
    """
    assert photos.captions is not None
    found = read_captions(photos.captions)
    for file in pictures.files:
        if not found.get(Path(file).name):
            raise RecipeError(f"{photos.captions} has no caption for the photo {Path(file).name} of {photos.name}.")
    return [found[Path(file).name] for file in pictures.files]


def gather(run: Run, recipe: Recipe, head: TeacherHead, sentences: Sentences, strength: Tensor) -> Targets:
    """Read what the stages before have made."""
    pictures = [load(run, photos.name) for photos in recipe.training]
    classes = class_list(pictures)
    sets, banks, base = [], [], 0
    with torch.no_grad():
        for photos, found in zip(recipe.training, pictures, strict=True):
            labels = class_numbers(found, classes)
            captions, folds = None, torch.full((len(found),), -1)
            if photos.captions is not None:
                bank = head.text(caption_sentences(photos, found, sentences))
                captions = base + torch.arange(bank.shape[0] * bank.shape[1]).view(bank.shape[:2])
                banks.append(bank.flatten(0, 1))
                base += captions.numel()
                folds = fold_of(len(found))
            sets.append(LearningSet(found, load_maps(run, photos.name), photos.share, labels, captions, folds))
        prompts = head.text(class_sentences(classes, recipe.dictionary(), sentences))
    return Targets(sets, classes, prompts, torch.cat(banks), strength)
