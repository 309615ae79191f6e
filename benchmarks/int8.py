"""What the image towers would gain by eight-bit integers, and what retrieval would lose.

    pip install nncf
    python -m benchmarks.int8 CAPTIONS.json PHOTOS [--presets starter fast balanced] [--photos 100]

Each preset's image tower is quantised by NNCF, as OpenVINO's makers advise (weights and activations, calibrated with
some of the photos), and computes on one core beside fp32 and bf16, the three taking turns. Only the built-in model has
weights that were learned; of it the recall on the captioned photos is printed too. The others' are random: how near
their embeddings come to those in fp32 says little of real ones.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.model_costs import converted
from search.evaluate import read_karpathy, retrieval
from search.models.compiled import CompiledNetwork
from search.models.conversions import Facts
from search.models.encoder import load_encoder
from search.models.names import PRESETS, STARTER
from search.models.preprocess import Pixels, Preprocess
from search.vectors.protocol import Floats

_BATCH = 16
_PRECISIONS = {"fp32": ("images", "fp32"), "bf16": ("images", "bf16"), "int8": ("quantised", "bf16")}


def quantise(folder: Path, pixels: Pixels, preset: str) -> None:
    """Write the tower `images.xml` of `folder` anew as `quantised.xml`, calibrated with uint8[n, h, w, 3]."""
    import nncf
    import openvino

    quantised = nncf.quantize(
        openvino.Core().read_model(folder / "images.xml"),
        nncf.Dataset([one[None] for one in pixels]),
        subset_size=len(pixels),
        preset=nncf.QuantizationPreset.MIXED,
        model_type=None if preset == STARTER else nncf.ModelType.TRANSFORMER,
    )
    openvino.save_model(quantised, folder / "quantised.xml")


def pixels_of(files: list[Path], facts: Facts) -> Pixels:
    """Photos as the model takes them, uint8[n, h, w, 3]."""
    preprocess = Preprocess.from_config(facts.preprocess)
    return np.stack([preprocess(Image.open(file).convert("RGB")) for file in files])


def rates(towers: dict[str, Any], pixels: Pixels, rounds: int) -> dict[str, float]:
    """Photos a second of each tower on one core, medians of rounds in which they take turns."""
    taken: dict[str, list[float]] = {name: [] for name in towers}
    for number in range(rounds + 1):
        for name, tower in towers.items():
            began = time.process_time()
            tower(pixels[:_BATCH])
            if number:  # the first warms up
                taken[name].append((time.process_time() - began) / _BATCH)
    return {name: 1 / statistics.median(each) for name, each in taken.items()}


def unit(vectors: Floats) -> Floats:
    """Rows brought to unit length."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captions", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=["starter", "fast", "balanced"])
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    captioned = read_karpathy(arguments.captions, arguments.folder)
    files = [arguments.folder / name for name in captioned.names]
    for preset in arguments.presets:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / preset
            facts = converted(preset, folder, random=preset != STARTER)
            chosen = pixels_of(files[: arguments.photos], facts)
            quantise(folder, chosen, preset)
            towers = {
                name: CompiledNetwork(folder / f"{file}.xml", precision, 1)
                for name, (file, precision) in _PRECISIONS.items()
            }
            found = rates(towers, chosen, arguments.rounds)
            reference = unit(towers["fp32"](chosen[:_BATCH]))
            for name, rate in found.items():
                least = float((unit(towers[name](chosen[:_BATCH])) * reference).sum(1).min())
                print(
                    f"{preset:9} {name}: {rate:7.1f} photos/s on a core, {rate / found['fp32']:.2f} of fp32, "
                    f"least cosine to fp32 {least:.4f}",
                    flush=True,
                )
            if preset == STARTER:
                owners = np.repeat(np.arange(len(files)), [len(texts) for texts in captioned.captions])
                texts = load_encoder(preset).embed_texts([text for each in captioned.captions for text in each])
                pixels = pixels_of(files, facts)
                for name, tower in towers.items():
                    parts = [tower(pixels[at : at + _BATCH]) for at in range(0, len(pixels), _BATCH)]
                    print(f"{preset:9} {name}: {retrieval(unit(np.concatenate(parts)), texts, owners)}", flush=True)


if __name__ == "__main__":
    main()
