"""What it costs to decode photos in processes of their own, beside decoding them in threads of this one.

    python benchmarks/decoding.py PHOTOS [--rounds 7] [--most 400] [--workers 2]

Of the folder PHOTOS, sets are made as cameras, phones and programs write them. In each round every set is read in each
way after one another, so that a noisy machine disturbs them alike: read, hashed, decoded, measured and brought to the
starter model's size, as the indexer does. The ratios are taken round by round; processor time is that of all processes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pillow_heif
import psutil
import torch
from PIL import Image

from indexer.decoding.decoders import Decoders
from indexer.decoding.pool import Pool
from indexer.decoding.settings import DecodingSettings
from indexer.files import photo_id, whole_file
from indexer.look import look
from indexer.pipeline import FILES_A_TASK, ReadAhead
from indexer.pixels import flatness
from indexer.read import decode
from indexer.scan import FoundFile
from indexer.suffixes import SUFFIXES
from search.models.preprocess import Preprocess

PREPROCESS = Preprocess((160, 160), "shortest", "bicubic", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
SETS = {
    "JPEG, 500 x 375": (1.0, (500, 375), "JPEG", {"quality": 90}),
    "JPEG, 4000 x 3000": (0.06, (4000, 3000), "JPEG", {"quality": 90}),
    "PNG, 1000 x 750": (0.1, (1000, 750), "PNG", {}),
    "WebP, 1000 x 750": (0.15, (1000, 750), "WEBP", {"quality": 85}),
    "HEIC, 1000 x 750": (0.1, (1000, 750), "HEIF", {"quality": 60}),
    "HEIC, 4000 x 3000": (0.015, (4000, 3000), "HEIF", {"quality": 60}),
}
"""How many of the photos, saved anew in which size and format."""
Way = Callable[[list[FoundFile]], tuple[float, float]]


def sets(photos: list[Path], folder: Path) -> dict[str, list[FoundFile]]:
    """The sets, made in `folder`."""
    pillow_heif.register_heif_opener()
    made = {"as they are": photos}
    for number, (name, (share, size, format, options)) in enumerate(SETS.items()):
        place = folder / str(number)
        place.mkdir()
        suffix = {"HEIF": ".heic", "JPEG": ".jpg"}.get(format, f".{format.lower()}")
        made[name] = []
        for photo in photos[: max(4, round(share * len(photos)))]:
            made[name].append(place / f"{photo.stem}{suffix}")
            image = Image.open(photo).convert("RGB").resize(size, Image.Resampling.LANCZOS)
            image.save(made[name][-1], format, **options)
    return {
        name: [FoundFile(os.fsencode(file.parent), os.fsencode(file.name), 0, 0) for file in files]
        for name, files in made.items()
    }


def in_threads(workers: int) -> Way:
    """In threads of this process."""
    pool = ThreadPoolExecutor(workers, "read", torch.set_num_threads, (1,))

    def task(files: list[FoundFile]) -> None:
        for file in files:
            content, _ = whole_file(file.path)
            photo_id(content)
            photo = decode(content, draft=PREPROCESS.draft_size)
            look(photo.image)
            flatness(photo.image)
            PREPROCESS(photo.image, (photo.width, photo.height))

    def run(files: list[FoundFile]) -> tuple[float, float]:
        wall, processor = time.perf_counter(), time.process_time()
        list(pool.map(task, [files[at : at + FILES_A_TASK] for at in range(0, len(files), FILES_A_TASK)]))
        return time.perf_counter() - wall, time.process_time() - processor

    return run


def in_processes(decoders: Decoders) -> Way:
    """In processes of their own."""

    def run(files: list[FoundFile]) -> tuple[float, float]:
        wall, processor = time.perf_counter(), time.process_time() + decoders.pool.seconds
        for _ in ReadAhead(files, PREPROCESS, decoders, known=lambda _: False, look_ahead=96):
            pass
        return time.perf_counter() - wall, time.process_time() + decoders.pool.seconds - processor

    return run


def start(content: bytes) -> None:
    """Print what the first photo of a process takes, and the process itself."""
    pool = Pool(1, DecodingSettings())
    began = time.perf_counter()
    Decoders(pool).picture(content)
    took = time.perf_counter() - began
    memory = psutil.Process(pool.pids[0]).memory_full_info()
    print(
        f"a process starts and decodes a first photo in {took:.2f} s; {memory.rss / 2**20:.0f} MiB lie in memory, "
        f"{memory.uss / 2**20:.0f} of them its own"
    )
    pool.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--most", type=int, default=400)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2)
    options = parser.parse_args()
    photos = sorted(file for file in options.photos.rglob("*") if file.suffix.lower() in SUFFIXES)[: options.most]
    pools = [Pool(options.workers, DecodingSettings(), shared=shared) for shared in (True, False)]
    ways = {
        "threads": in_threads(options.workers),
        "processes": in_processes(Decoders(pools[0])),
        "pipes alone": in_processes(Decoders(pools[1])),
    }
    start(photos[0].read_bytes())
    print(f"{'photos':18}  {'way':11}  photos/s  speed: threads'  ms of processors  threads': these")
    with tempfile.TemporaryDirectory() as scratch:
        for name, files in sets(photos, Path(scratch)).items():
            taken: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
            for round_ in range(options.rounds + 1):
                for way in list(ways)[:: 1 if round_ % 2 else -1]:
                    taken[way].append(ways[way](files))
            for way, times in taken.items():
                pairs = list(zip(taken["threads"], times, strict=True))[1:]  # the first round prepares what others use
                wall, processor = (statistics.median(time[of] for _, time in pairs) for of in (0, 1))
                speed, cost = (statistics.median(base[of] / time[of] for base, time in pairs) for of in (0, 1))
                rate, each = len(files) / wall, processor / len(files) * 1e3
                print(f"{name:18}  {way:11}  {rate:8.1f}  {speed:15.2f}  {each:16.2f}  {cost:15.2f}", flush=True)
    for pool in pools:
        pool.close()


if __name__ == "__main__":
    main()
