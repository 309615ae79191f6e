"""How fast models run on a processor in OpenVINO and in PyTorch, and how soon either answers a first text.

    python benchmarks/runtimes.py [--presets starter fast balanced] [--rounds 5]

The weights of presets that are not built in are random: speed does not depend on what they say. In each round all ways
take turns, so that whatever else runs disturbs them alike. Starts are those of a process of its own, with the built-in
model, from the start of Python to the embedding of a text.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import open_clip

from benchmarks.model_costs import converted, network_of
from search.models.conversions import Converted, Facts
from search.models.encoder import load_encoder
from search.models.names import PRESETS
from search.models.network import Network
from search.models.preprocess import Preprocess

Batch = TypeVar("Batch", npt.NDArray[np.uint8], list[str])
_BATCHES, _BATCH = 4, {"starter": 32, "fast": 32, "balanced": 8, "best": 2}
_START = "from search.models.encoder import load_encoder; load_encoder('starter', device='cpu').embed_texts(['a dog'])"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=["starter", "fast", "balanced"])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print("preset     what                    PyTorch  OpenVINO  times as fast (lowest)")
    for preset in arguments.presets:
        for precision in ("fp32", "bf16"):
            show(preset, f"{precision}, photos/s", *rates(preset, precision, arguments.rounds))
        for count in (1, 16):
            show(preset, f"{count} at once, texts/s", *text_rates(preset, count, arguments.rounds))
    load_encoder("starter", device="cpu", convert=True)
    begun = [(start("auto"), start("pytorch")) for _ in range(arguments.rounds)]
    for name, seconds in zip(("OpenVINO", "PyTorch"), zip(*begun, strict=True), strict=True):
        print(f"a first text, {name:8}: {statistics.median(seconds):.2f} s (most {max(seconds):.2f})")


def show(preset: str, what: str, ours: list[float], theirs: list[float]) -> None:
    """Print the medians of rates in OpenVINO and in PyTorch, and how they compare round by round."""
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    print(
        f"{preset:9}  {what:20}  {statistics.median(theirs):9.1f}  {statistics.median(ours):8.1f}  "
        f"{statistics.median(ratios):5.2f} ({min(ratios):.2f})",
        flush=True,
    )


def rates(preset: str, precision: str, rounds: int) -> tuple[list[float], list[float]]:
    """Photos a second on ready batches with all cores: in OpenVINO, and in PyTorch."""
    with both(preset, precision) as (ways, facts):
        size = Preprocess.from_config(facts.preprocess).size
        batch = np.random.default_rng(0).integers(0, 256, (_BATCH[preset], *size, 3), dtype=np.uint8)
        for way in ways:
            rate(way.embed_images, batch)  # the first pass prepares what the others use
        measured = [tuple(rate(way.embed_images, batch) for way in ways) for _ in range(rounds)]
    return [ours for ours, _ in measured], [theirs for _, theirs in measured]


def text_rates(preset: str, count: int, rounds: int) -> tuple[list[float], list[float]]:
    """Texts a second, of queries that are embedded so many at once in bf16: in OpenVINO, and in PyTorch."""
    texts = [f"photo number {number} of a dog on the beach" for number in range(count)]
    with both(preset, "bf16") as (ways, _):
        measured = [tuple(rate(way.embed_texts, texts) for way in ways) for _ in range(rounds + 1)]
    return [ours for ours, _ in measured[1:]], [theirs for _, theirs in measured[1:]]


@contextmanager
def both(preset: str, precision: str) -> Iterator[tuple[tuple[Converted, Network], Facts]]:
    """The preset in OpenVINO and in PyTorch."""
    with tempfile.TemporaryDirectory() as scratch:
        facts = converted(preset, Path(scratch) / preset)
        network = network_of(preset)
        tokenizer = open_clip.SimpleTokenizer(context_length=network.context_length)
        yield (
            (Converted(Path(scratch) / preset, facts, precision, 1), Network(network, tokenizer, "cpu", precision)),
            facts,
        )


def rate(embed: Callable[[Batch], object], batch: Batch) -> float:
    """Photos, or texts, a second."""
    began = time.perf_counter()
    for _ in range(_BATCHES):
        embed(batch)
    return _BATCHES * len(batch) / (time.perf_counter() - began)


def start(runtime: str) -> float:
    """Seconds of a process that embeds one text."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", _START], check=True, env={**os.environ, "SIGHTLINE_RUNTIME": runtime})
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
