"""How good a tower is while it learns: on held-out sets alone, with the teacher's texts in place of the text tower."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from search.evaluate import retrieval
from training.pictures import Pictures
from training.student import ImageStudent, normalised

Floats = npt.NDArray[np.float32]


def embed_pictures(student: ImageStudent, pictures: Pictures, side: int, device: str) -> Floats:
    """Unit embeddings float32 [n, d] of whole pictures, resized to `side`."""
    rows = []
    for start in range(0, len(pictures), 100):
        pixels = torch.tensor(pictures.pixels[start : start + 100]).permute(0, 3, 1, 2).float() / 255
        resized = functional.interpolate(pixels, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
            rows.append(student.embed(normalised(resized.to(device))).float().cpu().numpy())
    return np.concatenate(rows)


def captioned(images: Floats, captions: Tensor) -> dict[str, Any]:
    """Recall both ways of images [n, d] and their captions [n, k, d], unit embeddings."""
    owners = np.repeat(np.arange(len(images)), captions.shape[1])
    return retrieval(images, captions.flatten(0, 1).numpy(), owners)


def zero_shot(images: Floats, prompts: Tensor, labels: Tensor) -> dict[str, float]:
    """Top-1 and top-5 accuracy in per cent: each class is the mean of its wordings [classes, wordings, d].

    Images whose label is -1 do not count.
    """
    classes = functional.normalize(prompts.mean(1), dim=-1)
    return accuracy(torch.from_numpy(images) @ classes.T, labels)


def accuracy(similarity: Tensor, labels: Tensor) -> dict[str, float]:
    """Top-1 and top-5 accuracy in per cent of a similarity [n, classes]; rows whose label is -1 do not count."""
    similarity, labels = similarity[labels >= 0], labels[labels >= 0]
    right = similarity.topk(min(5, similarity.shape[1]), dim=-1).indices == labels[:, None]
    return {
        "top1": round(100 * float(right[:, 0].float().mean()), 2),
        "top5": round(100 * float(right.any(-1).float().mean()), 2),
    }
