"""How near indexing comes to what the model and the decoder alone allow, in one run on one machine.

    python benchmarks/index.py PHOTOS [--model starter] [--rounds 3]

PHOTOS is a folder of photos. `--model random:ViT-B-32` saves that architecture of open_clip with random weights as a
`local-dir:` checkpoint and uses it: speed does not depend on what the weights say. In each round three things are
measured after one another, so that a noisy machine disturbs them alike: the forward pass on batches that are ready in
memory, in as many streams as indexing uses; decoding with all workers; and the embedding stage of a whole run without
captions into a new home, from the first file to the last commit. The ratios are taken round by round.

On a CPU, decoding and model share the cores, so that nothing can be faster than both in turn: the last column compares
the stage with that.
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

from indexer.decoding.decoders import Decoders
from indexer.embed import embed
from indexer.model_choice import LoadedModel
from indexer.pipeline import ReadAhead, ReadFile
from indexer.report import IndexOptions
from indexer.run import run_index
from indexer.scan import FoundFile
from indexer.suffixes import SUFFIXES
from search.home import Home
from search.models.encoder import Encoder


def random_checkpoint(architecture: str, folder: Path) -> str:
    """Save `architecture` with random weights in open_clip's own format, and CLIP's tokenizer in place of one that must
    be downloaded; returns its `local-dir:` name."""
    import open_clip
    from safetensors.torch import save_file

    folder.mkdir()
    network = open_clip.create_model(architecture)
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, folder / "open_clip_model.safetensors")
    keys = ("mean", "std", "interpolation", "resize_mode")
    model = open_clip.get_model_config(architecture)
    for name in ("hf_tokenizer_name", "tokenizer_kwargs"):
        model["text_cfg"].pop(name, None)
    config = {
        "model_cfg": model,
        "preprocess_cfg": {key: network.visual.preprocess_cfg[key] for key in keys},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return f"local-dir:{folder}"


def found_files(folder: Path) -> list[FoundFile]:
    """The photos of a folder, as a scan would name them."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    return [FoundFile(os.fsencode(file.parent), os.fsencode(file.name), 0, 0) for file in files]


def forward_rate(encoder: Encoder, ready: list[ReadFile], batch_size: int | None) -> float:
    """Photos a second of the model alone, on pixels that are ready in memory."""
    began = time.perf_counter()
    for _ in embed(encoder, ready, len(ready), batch_size):
        pass
    return len(ready) / (time.perf_counter() - began)


def decode_rate(encoder: Encoder, files: list[FoundFile], decoders: Decoders) -> float:
    """Photos a second of reading, hashing, decoding and resizing alone."""
    began = time.perf_counter()
    for _ in ReadAhead(files, encoder.preprocess, decoders, known=lambda _: False, look_ahead=len(files)):
        pass
    return len(files) / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--batch-size", type=int, default=None)
    arguments = parser.parse_args()

    with ExitStack() as opened:
        scratch = opened.enter_context(tempfile.TemporaryDirectory())
        name = arguments.model
        if name.startswith("random:"):
            name = random_checkpoint(name.removeprefix("random:"), Path(scratch) / "checkpoint")
        options = IndexOptions(
            model=name,
            precision=arguments.precision,
            captions="off",
            workers=arguments.workers,
            batch_size=arguments.batch_size,
        )
        encoder = LoadedModel().get(name, arguments.precision, options)
        files = found_files(arguments.photos)
        decoders = opened.enter_context(Decoders.of_process(arguments.workers))
        read = ReadAhead(files, encoder.preprocess, decoders, known=lambda _: False, look_ahead=64)
        ready = [file for file in read if file.pixels is not None]
        print(
            f"{platform.machine()}, {os.cpu_count()} cores, {len(files)} photos, model {arguments.model}, "
            f"{encoder.device} {encoder.precision} in {encoder.runtime}"
        )
        print("round  forward/s  decode/s  index/s  index:forward  index:both bounds")
        ratios = []
        forward_rate(encoder, ready, arguments.batch_size)  # the first pass prepares what the others use
        for number in range(1, arguments.rounds + 1):
            forward = forward_rate(encoder, ready, arguments.batch_size)
            decode = decode_rate(encoder, files, decoders)
            with tempfile.TemporaryDirectory() as home:
                rate = run_index(Home(Path(home)), [arguments.photos], options).photos_per_second
            # On a CPU, model and decoder share the cores: their times add up.
            bound = 1 / (1 / forward + 1 / decode) if encoder.device == "cpu" else min(forward, decode)
            ratios.append((rate / forward, rate / bound))
            print(
                f"{number:5}  {forward:9.1f}  {decode:8.1f}  {rate:7.1f}  {rate / forward:13.2f}  {rate / bound:17.2f}",
                flush=True,
            )
        alone, both = (statistics.median(each) for each in zip(*ratios, strict=True))
        print(f"median index:forward {alone:.2f}, index:both bounds {both:.2f}")


if __name__ == "__main__":
    main()
