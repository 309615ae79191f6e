"""What a machine with GPUs makes of photos as cameras take them, beside what each part of it could do alone.

    python -m benchmarks.gpu PHOTOS [--files 2048] [--model random:ViT-B-32] [--rounds 3]

PHOTOS is a folder of photos. Of parts of them, enlarged and with grain, JPEGs of 12 megapixels are made in a temporary
folder (`--scratch` says where: it takes about 4 MB for each), all different. Then, one after another:

- copies to the GPU, from pageable and from pinned memory;
- the image tower on ready batches, as they come and recorded, on one GPU and on all;
- decoding alone: by nvJPEG from memory, and as indexing reads, hashes, decodes and measures, on the processors and on
  these and GPUs;
- whole runs of indexing into a new home, without captions, and what they are of the lower of both limits.

Files that were just made lie in the system's cache. Runs of few photos do without GPUs that decode
(`indexer.decoding.gpu`); in those of many they start within the run, and before it where decoding alone is measured.
Without a GPU it says so and exits with 1.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.index import decode_rate, found_files, random_checkpoint
from indexer.decoding.decoders import Decoders
from indexer.decoding.gpu import GpuDecoders
from indexer.embed import BATCH_SIZE
from indexer.pipeline import ReadAhead
from indexer.report import IndexOptions
from indexer.run import run_index
from indexer.scan import FoundFile
from indexer.suffixes import SUFFIXES
from search.home import Home
from search.models.encoder import Encoder, load_encoder
from search.models.gpu import Gpu, visible_gpus

_SIZE = (4000, 3000)
_GRAIN = 6.0  # standard deviation, in levels: of it come the megabytes of a camera's JPEG
_COPIED = 256 * 2**20
_NVJPEG_BATCH = 16
_SECONDS = 3.0


def make_photo(number: int, sources: list[Path], folder: Path) -> None:
    """Save a part of one of the photos as a camera would."""
    dice = np.random.default_rng(number)
    image = Image.open(sources[number % len(sources)]).convert("RGB")
    left, top = (int(dice.integers(0, side // 4 + 1)) for side in image.size)
    part = (left, top, left + image.width * 3 // 4, top + image.height * 3 // 4)
    pixels = np.asarray(image.resize(_SIZE, Image.Resampling.BICUBIC, part), np.float32)
    grain = dice.normal(0, _GRAIN, pixels.shape[:2]).astype(np.float32)
    noisy = np.clip(pixels + grain[..., None], 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(folder / f"{number}.jpg", "JPEG", quality=90)


def rate(work: Callable[[], float]) -> float:
    """What `work` does in a second, of the amounts that it returns; its first call prepares what the others use."""
    work()
    began, done = time.perf_counter(), 0.0
    while time.perf_counter() - began < _SECONDS:
        done += work()
    return done / (time.perf_counter() - began)


def copies(gpu: Gpu) -> None:
    """Print how fast bytes travel to a GPU."""
    import torch

    for name, source in (
        ("pageable", torch.zeros(_COPIED, dtype=torch.uint8)),
        ("pinned", gpu.pinned((_COPIED,), torch.uint8)),
    ):

        def copied(source: torch.Tensor = source) -> float:
            with gpu.current():
                source.to(gpu.place, non_blocking=True)
                gpu.finished()()
            return _COPIED / 1e9

        print(f"copies from {name} memory: {rate(copied):.1f} GB/s")


def forward(encoder: Encoder, streams: int, batch_size: int) -> float:
    """Photos a second of the image tower, from memory to memory, from so many threads."""
    height, width = encoder.image_size
    batch = np.random.default_rng(0).integers(0, 256, (batch_size, height, width, 3), dtype=np.uint8)
    with ThreadPoolExecutor(streams) as pool:
        return rate(lambda: float(sum(map(len, pool.map(encoder.embed_images, [batch] * 4 * streams)))))


def towers(encoder: Encoder, gpus: int, batch_size: int) -> float:
    """Print what the image tower does, and return the rate that indexing could use."""
    one = forward(encoder, 2, batch_size)
    print(f"image tower, one GPU, batches of {batch_size} as they come: {one:.0f} photos/s")
    streams = encoder.prepare_images(10**9, batch_size)
    recorded = forward(encoder, streams, batch_size)
    print(f"image tower, {gpus} GPUs, recorded: {recorded:.0f} photos/s ({recorded / one / gpus:.2f} of it on each)")
    return recorded


def nvjpeg(gpu: Gpu, contents: list[bytes]) -> None:
    """Print what the GPU's own decoder does, from memory and without any resize."""
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg

    encoded = [torch.frombuffer(bytearray(one), dtype=torch.uint8) for one in contents]

    def decoded() -> float:
        with gpu.current():
            decode_jpeg(encoded, ImageReadMode.RGB, gpu.place)
            gpu.finished()()
        return len(encoded)

    try:
        print(f"nvJPEG on one GPU, batches of {len(encoded)}: {rate(decoded):.0f} photos/s")
    except (RuntimeError, ImportError) as error:
        print(f"nvJPEG: not to be had ({str(error).splitlines()[0]})")


def decode_rate_with(gpus: GpuDecoders, encoder: Encoder, files: list[FoundFile], decoders: Decoders) -> float:
    """Photos a second of reading, hashing, decoding and resizing alone, where GPUs decode as well."""
    gpus.settled.wait()
    began = time.perf_counter()
    for _ in ReadAhead(files, encoder.preprocess, decoders, known=lambda _: False, look_ahead=len(files), on_gpus=gpus):
        pass
    return len(files) / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--files", type=int, default=2048)
    parser.add_argument("--model", default="random:ViT-B-32")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--scratch", type=Path, default=None)
    arguments = parser.parse_args()
    gpus = visible_gpus()
    if not gpus:
        print("PyTorch sees no GPU here: run this on a machine with an NVIDIA GPU and its driver.", file=sys.stderr)
        sys.exit(1)
    sources = sorted(file for file in arguments.photos.rglob("*") if file.suffix.lower() in SUFFIXES)

    with ExitStack() as opened:
        scratch = Path(opened.enter_context(tempfile.TemporaryDirectory(dir=arguments.scratch)))
        folder = scratch / "photos"
        folder.mkdir()
        with ProcessPoolExecutor(arguments.workers) as pool:
            list(pool.map(partial(make_photo, sources=sources, folder=folder), range(arguments.files), chunksize=8))
        name = arguments.model
        if name.startswith("random:"):
            name = random_checkpoint(name.removeprefix("random:"), scratch / "checkpoint")
        files = found_files(folder)
        size = sum(file.stat().st_size for file in folder.iterdir()) / len(files) / 1e6
        encoder = load_encoder(name, device="cuda", precision=arguments.precision)
        print(
            f"{platform.machine()}, {os.cpu_count()} cores, {describe(gpus)}; {len(files)} JPEGs of 12 megapixels, "
            f"{size:.1f} MB each; model {arguments.model}, {encoder.precision}",
            flush=True,
        )
        copies(gpus[0])
        model = towers(encoder, len(gpus), BATCH_SIZE["cuda"])
        nvjpeg(gpus[0], [Path(os.fsdecode(file.path)).read_bytes() for file in files[:_NVJPEG_BATCH]])
        options = IndexOptions(
            model=name, precision=arguments.precision, captions="off", workers=arguments.workers, device="cuda"
        )
        decoders = opened.enter_context(Decoders.of_process(arguments.workers))
        ratios = []
        for number in range(1, arguments.rounds + 1):
            alone = decode_rate(encoder, files, decoders)
            on_gpus = GpuDecoders([gpu.place for gpu in gpus], decoders.pool.settings)
            decoding = decode_rate_with(on_gpus, encoder, files, decoders)
            on_gpus.close()
            with tempfile.TemporaryDirectory(dir=scratch) as home:
                run = run_index(Home(Path(home)), [folder], options).photos_per_second
            ratios.append(run / min(max(alone, decoding), model))
            print(
                f"round {number}: read, decoded and measured {alone:.0f} photos/s by processors, {decoding:.0f} with "
                f"GPUs; whole run {run:.0f} photos/s, {ratios[-1]:.2f} of the lower limit",
                flush=True,
            )
        print(f"median {statistics.median(ratios):.2f} of the lower limit")


def describe(gpus: list[Gpu]) -> str:
    """The GPUs, in words."""
    import torch

    names = [torch.cuda.get_device_name(gpu.place) for gpu in gpus if gpu.kind == "cuda"]
    return f"{len(gpus)} GPUs ({', '.join(sorted(set(names))) or 'made up'}), PyTorch {torch.__version__}"


if __name__ == "__main__":
    main()
