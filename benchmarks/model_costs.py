"""What the presets cost beside each other: bytes to download, multiply-adds, and processor time on a CPU.

    python benchmarks/model_costs.py [--rounds 3]

The weights are random: neither size nor speed depends on what they say. Times are those of the processor in OpenVINO
with one thread, as indexing gives each core batches of its own, and of rounds in which all presets take turns, so that
whatever else runs disturbs them alike. `search/models/names.py` keeps the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from torch.utils.flop_counter import FlopCounterMode

from search.models import conversions
from search.models.conversions import Converted, Facts
from search.models.encoder import facts_of, quiet
from search.models.names import PRESETS, STARTER, resolve
from search.models.preprocess import Preprocess

_BATCH = {"best": 4}  # photos, or texts; of all others 32, as indexing takes photos on a CPU


def network_of(preset: str, *, random: bool = True) -> Any:
    """The preset's network, with random weights unless its own, of one that is built in, are wanted."""
    return open_clip.create_model(resolve(preset).open_clip_name, load_weights=not random, pretrained_hf=False)


def converted(preset: str, folder: Path, *, random: bool = True) -> Facts:
    """Write the preset into `folder` as indexing runs it, but for the tokenizer, which may not be on this machine."""
    network = network_of(preset, random=random)
    tokenizer = open_clip.SimpleTokenizer(context_length=network.context_length)
    folder.mkdir()
    facts = facts_of(network, tokenizer)
    with quiet():
        return conversions.write(network, tokenizer, facts, folder)


def weights(preset: str) -> tuple[int, float]:
    """Bytes of the weights in single precision, and the image tower's multiply-adds for a photo, in millions."""
    network = network_of(preset)
    tensors = network.state_dict().values()
    network.eval().requires_grad_(False).to("meta")
    size = network.visual.image_size
    height, width = size if isinstance(size, tuple) else (size, size)
    with FlopCounterMode(display=False) as counter:
        network.encode_image(torch.empty(1, 3, height, width, device="meta"))
    count = sum(tensor.numel() for tensor in tensors if tensor.is_floating_point())
    return 4 * count, counter.get_total_flops() / 2e6


def processor_ms(model: Converted, count: int) -> tuple[float, float]:
    """Milliseconds of a processor for a photo, and for a text."""
    size = Preprocess.from_config(model.facts.preprocess).size
    batch = np.random.default_rng(0).integers(0, 256, (count, *size, 3), dtype=np.uint8)
    began = time.process_time()
    model.embed_images(batch)
    between = time.process_time()
    model.embed_texts(["a photo of a dog that runs along a beach"] * count)
    return (between - began) * 1000 / count, (time.process_time() - between) * 1000 / count


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        facts = {preset: converted(preset, folder / preset) for preset in PRESETS}
        times: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for precision in ("fp32", "bf16"):
            encoders = {preset: Converted(folder / preset, facts[preset], precision, 1) for preset in PRESETS}
            for number in range(rounds + 1):
                for preset, encoder in encoders.items():
                    taken = processor_ms(encoder, _BATCH.get(preset, 32))
                    if number:  # the first warms up
                        times.setdefault((preset, precision), []).append(taken)
    document: dict[str, Any] = {"machine": platform.processor() or platform.machine()}
    for preset in PRESETS:
        size, additions = weights(preset)
        document[preset] = {"bytes": size, "million_multiply_adds": round(additions, 1)}
        for precision in ("fp32", "bf16"):
            of_starter = statistics.median(photo for photo, _ in times[STARTER, precision])
            medians = [statistics.median(each) for each in zip(*times[preset, precision], strict=True)]
            document[preset][precision] = {
                what: {"ms": round(median, 2), "photos_of_starter": round(median / of_starter, 2)}
                for what, median in zip(("photo", "text"), medians, strict=True)
            }
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
