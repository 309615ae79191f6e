"""How near indexing comes to what the model and the decoder alone allow, in one run on one machine.

    python benchmarks/index.py PHOTOS [--model starter] [--rounds 3]

PHOTOS is a folder of photos. `--model random:ViT-B-32` saves that architecture of open_clip with random weights as a
`local-dir:` checkpoint and uses it: speed does not depend on what the weights say. In each round three things are
measured after one another, so that a noisy machine disturbs them alike: the forward pass on ready batches, decoding
with all threads, and a whole index run without captions into a new home. The ratios are taken round by round.

On a CPU, decoding and model share the cores: the last column compares the whole run with both in turn. It may exceed
1, since the forward pass here is one call after another, each with all cores, while indexing gives each core batches of
its own, which wastes less.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from indexer.decoding.decoders import Decoders
from indexer.embed import BATCH_SIZE
from indexer.pipeline import read_ahead
from indexer.report import IndexOptions
from indexer.run import run_index
from indexer.scan import FoundFile
from indexer.suffixes import SUFFIXES
from search.home import Home
from search.models.encoder import Encoder, load_encoder


def random_checkpoint(architecture: str, folder: Path) -> str:
    """Save `architecture` with random weights in open_clip's own format; returns its `local-dir:` name."""
    import open_clip
    from safetensors.torch import save_file

    network = open_clip.create_model(architecture)
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, folder / "open_clip_model.safetensors")
    keys = ("mean", "std", "interpolation", "resize_mode")
    config = {
        "model_cfg": open_clip.get_model_config(architecture),
        "preprocess_cfg": {key: network.visual.preprocess_cfg[key] for key in keys},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return f"local-dir:{folder}"


def found_files(folder: Path) -> list[FoundFile]:
    """The photos of a folder, as a scan would name them."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    return [FoundFile(os.fsencode(file.parent), os.fsencode(file.name), 0, 0) for file in files]


def forward_rate(encoder: Encoder, ready: list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]) -> float:
    """Photos a second of the model alone, on batches that are ready in memory."""
    began = time.perf_counter()
    for batch in ready:
        encoder.embed_images(batch)
    return sum(map(len, ready)) / (time.perf_counter() - began)


def decode_rate(encoder: Encoder, files: list[FoundFile], decoders: Decoders) -> float:
    """Photos a second of reading, hashing, decoding and resizing alone."""
    began = time.perf_counter()
    for _ in read_ahead(files, encoder.preprocess, decoders, known=lambda _: False, look_ahead=len(files)):
        pass
    return len(files) / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2)
    arguments = parser.parse_args()

    with ExitStack() as opened:
        scratch = opened.enter_context(tempfile.TemporaryDirectory())
        name = arguments.model
        if name.startswith("random:"):
            checkpoint = Path(scratch) / "checkpoint"
            checkpoint.mkdir()
            name = random_checkpoint(name.removeprefix("random:"), checkpoint)
        encoder = load_encoder(name)
        files = found_files(arguments.photos)
        size = BATCH_SIZE[encoder.device]
        decoders = opened.enter_context(Decoders.of_process(arguments.workers))
        read = read_ahead(files, encoder.preprocess, decoders, known=lambda _: False, look_ahead=64)
        pixels = [file.pixels for file in read if file.pixels is not None]
        ready = [np.stack(pixels[at : at + size]) for at in range(0, len(pixels), size)]
        print(
            f"{platform.machine()}, {os.cpu_count()} cores, {len(files)} photos, model {arguments.model}, "
            f"{encoder.device} {encoder.precision}, batches of {size}"
        )
        print("round  forward/s  decode/s  index/s  index:forward  index:both bounds")
        ratios = []
        forward_rate(encoder, ready)  # the first pass prepares what the others use
        for number in range(1, arguments.rounds + 1):
            forward = forward_rate(encoder, ready)
            decode = decode_rate(encoder, files, decoders)
            with tempfile.TemporaryDirectory() as home:
                options = IndexOptions(model=name, captions="off", workers=arguments.workers)
                rate = run_index(Home(Path(home)), [arguments.photos], options).photos_per_second
            # On a CPU, model and decoder share the cores: their times add up.
            bound = 1 / (1 / forward + 1 / decode) if encoder.device == "cpu" else min(forward, decode)
            ratios.append(rate / forward)
            print(
                f"{number:5}  {forward:9.1f}  {decode:8.1f}  {rate:7.1f}  {rate / forward:13.2f}  {rate / bound:17.2f}",
                flush=True,
            )
        print(f"median index:forward {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
