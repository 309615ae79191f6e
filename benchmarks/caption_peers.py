"""Captions a second beside transformers' own pipeline: the same photos, checkpoint, beams and length.

    python -m benchmarks.caption_peers PHOTOS [--photos 16] [--rounds 3] [--device auto]

The checkpoint is a BLIP of the size of `Salesforce/blip-image-captioning-base` with random weights, saved in
transformers' format: it ends no sentence before it has to, so that all write as many words. The pipeline is asked as
its documentation shows, and in batches of the size that Sightline takes.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from indexer.describe.captioner import caption_each
from indexer.describe.choice import load_captioner
from indexer.suffixes import SUFFIXES
from search.models.device import choose_device

_MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_VOCABULARY = 30_522


def random_blip(folder: Path) -> None:
    """Save a BLIP of the usual size with random weights."""
    import torch
    import transformers

    torch.manual_seed(0)
    words = [*_MARKS, *(f"word{number}" for number in range(_VOCABULARY - len(_MARKS)))]
    config = transformers.BlipConfig(text_config={"sep_token_id": 3, "eos_token_id": 2})
    transformers.BlipForConditionalGeneration(config).save_pretrained(folder)
    transformers.BertTokenizer(vocab={word: number for number, word in enumerate(words)}).save_pretrained(folder)
    transformers.BlipImageProcessor().save_pretrained(folder)
    (folder / "generation_config.json").unlink()  # as in the repository


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    files = sorted(file for file in arguments.folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    images = [Image.open(file).convert("RGB") for file in files[: arguments.photos]]
    device = choose_device(arguments.device)
    with tempfile.TemporaryDirectory() as scratch:
        random_blip(Path(scratch))
        import transformers

        captioner = load_captioner(f"blip:{scratch}", device=device)
        pipeline: Any = transformers.pipeline("image-text-to-text", model=scratch, device=device)
        same = {"num_beams": 3, "do_sample": False, "max_new_tokens": 30, "length_penalty": 1.0}

        def asked(batch: int) -> Callable[[], object]:
            texts = [""] * len(images)
            return lambda: pipeline(images, text=texts, batch_size=batch, generate_kwargs=same)

        ways: dict[str, Callable[[], object]] = {
            f"Sightline, batches of {captioner.batch_size}": lambda: caption_each(captioner, images),
            "transformers' pipeline, one by one": asked(1),
            f"transformers' pipeline, batches of {captioner.batch_size}": asked(captioner.batch_size),
        }
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(arguments.rounds + 1):
            for name, way in ways.items():
                began = time.perf_counter()
                way()
                if number:  # the first warms up
                    rates[name].append(len(images) / (time.perf_counter() - began))
    print(f"{platform.machine()}, {device}, {len(images)} photos, {arguments.rounds} rounds")
    ours = next(iter(rates.values()))
    for name, each in rates.items():
        ratios = [one / other for one, other in zip(ours, each, strict=True)]
        print(f"{name}: {statistics.median(each):.2f} photos/s; Sightline beside it {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
