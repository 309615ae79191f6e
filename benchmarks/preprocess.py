"""What Sightline's short cuts in preprocessing and precision cost, in cosines between embeddings of the same photo.

    python benchmarks/preprocess.py PHOTOS [--model starter] [--most 200]

PHOTOS is a folder of photos. The first table compares the whole way of a photo (reduced decoding, one resize, the
precision) with open_clip's own loading, transform and fp32; the second compares reduced decoding alone with the full
decode. JPEGs of the sizes that cameras make being scarce in test sets, each photo is saved anew for it, with a shorter
side drawn from 300 to 1,000 pixels.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from unittest import mock

import numpy as np
import numpy.typing as npt
from PIL import Image

from indexer.read import decode
from search.models import preprocess
from search.models.encoder import Encoder, load_encoder
from search.models.names import resolve

Vectors = npt.NDArray[np.float32]


def embedded(encoder: Encoder, files: list[bytes], factor: float | None) -> Vectors:
    """Embeddings float32[n, d]; JPEGs decoded at no less than `factor` times the model's size, in full where None."""
    rows = []
    with mock.patch.object(preprocess, "_DRAFT", factor):
        for content in files:
            size = encoder.preprocess.draft_size if factor is not None else None
            draft = (int(size[0]), int(size[1])) if size is not None else None
            photo = decode(content, draft=draft)
            rows.append(encoder.embed_images(encoder.preprocess(photo.image, (photo.width, photo.height))[None])[0])
    return np.stack(rows)


def open_clips_own(model: str, files: list[bytes]) -> Vectors:
    """Embeddings float32[n, d] by open_clip alone, in fp32."""
    import open_clip
    import torch

    name = resolve(model)
    network, _, transform = open_clip.create_model_and_transforms(name.open_clip_name, name.pretrained)
    network.eval()
    with torch.inference_mode():
        rows = [
            network.encode_image(transform(Image.open(io.BytesIO(content)).convert("RGB"))[None], normalize=True)
            for content in files
        ]
    return np.concatenate([row.numpy() for row in rows])


def show(name: str, one: Vectors, other: Vectors) -> None:
    """Print the worst and the mean cosine of matching rows."""
    cosines = (one * other).sum(axis=1)
    print(f"{name:28} {cosines.min():.5f}  {cosines.mean():.5f}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--most", type=int, default=200)
    arguments = parser.parse_args()
    paths = sorted(arguments.photos.glob("*.jpg"))
    files = [path.read_bytes() for path in paths[:: max(1, len(paths) // arguments.most)][: arguments.most]]

    print(f"{len(files)} photos, model {arguments.model}     worst    mean cosine")
    reference = open_clips_own(arguments.model, files)
    for precision in ("fp32", "bf16"):
        encoder = load_encoder(arguments.model, device="cpu", precision=precision)
        show(f"{precision}, to open_clip's fp32", embedded(encoder, files, preprocess._DRAFT), reference)

    chance = np.random.default_rng(0)
    saved = []
    for content in files:
        photo = Image.open(io.BytesIO(content)).convert("RGB")
        scale = int(chance.integers(300, 1001)) / min(photo.size)
        buffer = io.BytesIO()
        size = (round(photo.width * scale), round(photo.height * scale))
        photo.resize(size, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=90)
        saved.append(buffer.getvalue())
    encoder = load_encoder(arguments.model, device="cpu", precision="fp32")
    reference = embedded(encoder, saved, None)
    for factor in (1, 1.5, 2, 3):
        show(f"decoded at no less than {factor} x", embedded(encoder, saved, factor), reference)


if __name__ == "__main__":
    main()
