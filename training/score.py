"""A finished model's figures, through open_clip alone: its loading, its transform, its tokenizer, fp32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.nn import functional

from search.evaluate import read_karpathy, retrieval
from training.corpus import PROMPTS, class_names
from training.measure import accuracy
from training.recipe import PhotoSet
from training.wordnet import WordNet

Floats = npt.NDArray[np.float32]


class OpenClipModel:
    """A checkpoint in open_clip's `local-dir:` layout."""

    def __init__(self, folder: Path) -> None:
        """Load it."""
        import open_clip

        name = f"local-dir:{folder}"
        self._network, _, self._transform = open_clip.create_model_and_transforms(name)
        self._network.eval()
        self._tokenizer = open_clip.get_tokenizer(name)

    def images(self, files: list[Path]) -> Floats:
        """Unit embeddings float32 [n, d] of photo files."""
        rows = []
        for start in range(0, len(files), 64):
            pixels = [self._transform(Image.open(file).convert("RGB")) for file in files[start : start + 64]]
            with torch.inference_mode():
                rows.append(self._network.encode_image(torch.stack(pixels), normalize=True).float().numpy())
        return np.concatenate(rows)

    def texts(self, texts: list[str]) -> Floats:
        """Unit embeddings float32 [n, d] of texts."""
        rows = []
        for start in range(0, len(texts), 256):
            with torch.inference_mode():
                tokens = self._tokenizer(texts[start : start + 256])
                rows.append(self._network.encode_text(tokens, normalize=True).float().numpy())
        return np.concatenate(rows)


def retrieval_figures(model: OpenClipModel, captions: Path, images: Path, split: str | None) -> dict[str, Any]:
    """Recall both ways on a captioned set in Karpathy's format, with its raw captions."""
    found = read_karpathy(captions, images, split)
    texts = [text for own in found.captions for text in own]
    owners = np.repeat(np.arange(len(found.names)), [len(own) for own in found.captions])
    return retrieval(model.images([images / name for name in found.names]), model.texts(texts), owners)


def zero_shot_figures(model: OpenClipModel, photos: PhotoSet, wordnet: WordNet | None) -> dict[str, float]:
    """Top-1 and top-5 accuracy in per cent on a labelled set; a class is the mean of its names in six prompts.

    Photos that cannot be read are left out; the others' number is among the figures.
    """
    files = [file for file in photos.files() if _readable(file)]
    names = photos.classes(files)
    classes = sorted({name for name in names if name is not None})
    rows = []
    for name in classes:
        texts = [prompt.format(called) for called in class_names(name, wordnet) for prompt in PROMPTS]
        rows.append(functional.normalize(torch.from_numpy(model.texts(texts)).mean(0), dim=0))
    kept = [i for i, name in enumerate(names) if name is not None]
    labels = torch.tensor([classes.index(str(names[i])) for i in kept])
    similarity = torch.from_numpy(model.images([files[i] for i in kept])) @ torch.stack(rows).T
    return {"photos": len(kept), **accuracy(similarity, labels)}


def _readable(file: Path) -> bool:
    try:
        with Image.open(file) as image:
            image.load()
            return True
    except OSError:
        return False
