"""How well a model finds captioned photos by their captions, and captions by their photos."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from search.errors import SightlineError
from search.vectors.protocol import Floats

Ranks = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CaptionedSet:
    """Photos, by file name, each with what people wrote under it."""

    names: tuple[str, ...]
    captions: tuple[tuple[str, ...], ...]


def read_karpathy(file: Path, images: Path, split: str | None = None) -> CaptionedSet:
    """Read captions in Karpathy's JSON format, for those of its photos that lie in the folder `images`; of one `split`
    alone where that is given.

    Raises:
        SightlineError: the file cannot be read, is not in this format, or names no photo of the folder.
    """
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        entries = [
            (str(entry["filename"]), tuple(str(sentence["raw"]) for sentence in entry["sentences"]))
            for entry in document["images"]
            if split is None or entry["split"] == split
        ]
    except OSError as error:
        raise SightlineError(f"{file} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise SightlineError(
            f"{file} is not in Karpathy's format (images[].filename, images[].sentences[].raw): {error!r}."
        ) from error
    present = [(name, captions) for name, captions in entries if captions and (images / name).is_file()]
    if not present:
        of_split = f" of the split “{split}”" if split else ""
        raise SightlineError(f"None of the {len(entries)} photos that {file} names{of_split} lies in {images}.")
    return CaptionedSet(tuple(name for name, _ in present), tuple(captions for _, captions in present))


def retrieval(images: Floats, texts: Floats, owners: Ranks) -> dict[str, Any]:
    """Recall at 1, 5 and 10 in per cent, and mean and median rank, both ways; arguments as of `ranks_by_similarity`."""
    to_image, to_text = ranks_by_similarity(images, texts, owners)
    return {"text_to_image": summary(to_image), "image_to_text": summary(to_text)}


def ranks_by_similarity(images: Floats, texts: Floats, owners: Ranks) -> tuple[Ranks, Ranks]:
    """The rank of each text's image, int64[m], and of each image's text, int64[n], from 1, by the cosine alone.

    Args:
        images: float32[n, d], unit length.
        texts: float32[m, d], unit length.
        owners: int64[m], which image each text belongs to; every image has at least one text.

    For image to text, the rank is that of the best placed of the image's own texts, as is usual for sets with five
    captions a photo (Karpathy and Fei-Fei, CVPR 2015). Ties count against the answer.
    """
    to_image = np.empty(len(texts), np.int64)
    best = np.full(len(images), np.iinfo(np.int64).max)
    similarity = texts @ images.T
    own = similarity[np.arange(len(texts)), owners]
    for row in range(len(texts)):
        to_image[row] = int((similarity[row] >= own[row]).sum())
    for image in range(len(images)):
        mine = owners == image
        # Only the other photos' captions stand in the way.
        best[image] = 1 + int((similarity[~mine, image] >= similarity[mine, image].max()).sum())
    return to_image, best


def summary(ranks: Sequence[int] | Ranks) -> dict[str, float]:
    """Recall at 1, 5 and 10 in per cent, and mean and median rank, as they are reported."""
    ranked = np.asarray(ranks)
    recalls = {f"r{k}": round(100.0 * float((ranked <= k).mean()), 2) for k in (1, 5, 10)}
    return {**recalls, "mean_rank": round(float(ranked.mean()), 2), "median_rank": float(np.median(ranked))}


def recall_curve(ranks: Ranks, deepest: int) -> list[float]:
    """Recall at 1, 2, … `deepest` in per cent."""
    counts = np.bincount(np.minimum(ranks, deepest + 1), minlength=deepest + 2)
    return [round(100.0 * float(part), 2) for part in np.cumsum(counts)[1 : deepest + 1] / len(ranks)]
