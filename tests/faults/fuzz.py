"""Reads mutated photos with the real reader, and looks whether any of them costs more than itself.

    python -m tests.faults.fuzz --files 10000 --seed 1 [--workers 2] [--seconds 20] [--memory 1024] [--keep FOLDER]

Real photos, those that installed packages carry, are written in every format that is read. Each is then damaged as
broken copies and ill will damage files, and read by the processes that decode for the indexer. Whatever becomes of it,
nothing but `PhotoError` may come out, nothing may take longer than the limit, and a sound photo that is read right
afterwards must be what it is. The table tells what became of the files, and what they took at most. File number n of a
seed is always the same; `--keep` writes those of which a process died.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pillow_heif
from PIL import Image, ImageOps

from indexer.decoding.answers import MeasuredPhoto
from indexer.decoding.decoders import Decoders, measured
from indexer.decoding.pool import Pool
from indexer.decoding.settings import DecodingSettings
from indexer.demo import gather_samples
from indexer.read import decode
from search.errors import PhotoError
from search.models.preprocess import Preprocess

PREPROCESS = Preprocess((64, 64), "shortest", "bicubic", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
KINDS = {
    "is truncated": "cut",
    "is damaged": "damaged",
    "not a picture": "unknown",
    "pixels": "pixels",
    "more memory": "memory",
    "the system ended": "memory",
    "crashed": "died",
    "takes longer": "too long",
    "is empty": "empty",
}
"""Words of each sentence that a photo may fail with, and how the table calls it."""
_SIZE = (160, 120)


@dataclass
class Tally:
    """What became of one format's files."""

    tried: int = 0
    decoded: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0
    peak: int = 0


@dataclass
class Outcome:
    """What became of all files.

    Attributes:
        tallies: by format.
        wrong: what must not happen and did, a sentence each.
        deaths: how many processes had to be started anew.
        sound: how many sound photos were read in between.
    """

    tallies: dict[str, Tally] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    deaths: int = 0
    sound: int = 0


def sources() -> dict[str, list[bytes]]:
    """Small real photos in every format and several flavours of each: files' contents by the format's name."""
    pillow_heif.register_heif_opener()
    with tempfile.TemporaryDirectory() as folder:
        images = [_small(path) for path in gather_samples(Path(folder))[:4]]
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x0110], exif[0x0132] = 6, "Maker", "Model 1", "2020:01:02 03:04:05"
    exif.get_ifd(0x8769)[0x9003] = "2020:01:02 03:04:05"
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 29.0), 3: "E", 4: (2.0, 17.0, 40.0)})
    made: dict[str, list[bytes]] = {}
    for name, format, convert, options in _flavours(exif.tobytes()):
        for image in images:
            content = io.BytesIO()
            convert(image).save(content, format, **options)
            made.setdefault(name, []).append(content.getvalue())
    return made


def _small(path: Path) -> Image.Image:
    return ImageOps.fit(Image.open(path).convert("RGB"), _SIZE)


def _flavours(exif: bytes) -> Iterator[tuple[str, str, Callable[[Image.Image], Image.Image], dict[str, Any]]]:
    def same(image: Image.Image) -> Image.Image:
        return image

    def seen_through(image: Image.Image) -> Image.Image:
        image = image.convert("RGBA")
        image.putalpha(Image.linear_gradient("L").resize(image.size))
        return image

    def deep(image: Image.Image) -> Image.Image:
        return image.convert("I;16")

    second = {"save_all": True, "append_images": [Image.new("RGB", _SIZE, "red")]}
    yield "JPEG", "JPEG", same, {"exif": exif}
    yield "JPEG", "JPEG", same, {"progressive": True, "quality": 90, "subsampling": 0}
    yield "JPEG", "JPEG", lambda image: image.convert("CMYK"), {"exif": exif}
    yield "JPEG", "JPEG", lambda image: image.convert("L"), {"restart_marker_rows": 1}
    yield "JPEG", "MPO", same, second
    yield "PNG", "PNG", same, {"exif": exif}
    yield "PNG", "PNG", lambda image: image.quantize(16), {"transparency": 3}
    yield "PNG", "PNG", seen_through, second
    yield "PNG", "PNG", deep, {}
    yield "WEBP", "WEBP", same, {"exif": exif}
    yield "WEBP", "WEBP", seen_through, {"lossless": True}
    yield "WEBP", "WEBP", same, second
    yield "GIF", "GIF", lambda image: image.quantize(64), {}
    yield "GIF", "GIF", same, second
    yield "TIFF", "TIFF", same, {"exif": exif}
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        yield "TIFF", "TIFF", same, {"compression": compression}
    yield "TIFF", "TIFF", lambda image: image.convert("1"), {"compression": "group4"}
    yield "TIFF", "TIFF", deep, {"big_tiff": True}
    yield "BMP", "BMP", same, {}
    yield "BMP", "BMP", lambda image: image.quantize(16), {}
    yield "AVIF", "AVIF", same, {"exif": exif, "speed": 10}
    yield "AVIF", "AVIF", seen_through, {"speed": 10}
    yield "HEIC", "HEIF", same, {"exif": exif}
    yield "HEIC", "HEIF", seen_through, {}


_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF)


def mutated(content: bytes, dice: random.Random, others: list[bytes]) -> bytes:
    """The content damaged in one to three ways."""
    broken = bytearray(content)
    for _ in range(dice.choice((1, 1, 2, 3))):
        dice.choice(_WAYS)(broken, dice, others)
    if broken[:8] == b"\x89PNG\r\n\x1a\n" and dice.random() < 0.7:
        _mend_sums(broken)
    return bytes(broken)


def _place(broken: bytearray, dice: random.Random) -> int:
    """Somewhere; half of the hits go to the headers, where they do the most harm."""
    return dice.randrange(max(1, len(broken) if dice.random() < 0.5 else min(300, len(broken))))


def _flip(broken: bytearray, dice: random.Random, _: list[bytes]) -> None:
    for _number in range(dice.choice((1, 2, 8, 40))):
        if broken:
            broken[_place(broken, dice)] = dice.choice((0, 0xFF, dice.randrange(256)))


def _cut(broken: bytearray, dice: random.Random, _: list[bytes]) -> None:
    del broken[_place(broken, dice) :]


def _leave_out(broken: bytearray, dice: random.Random, _: list[bytes]) -> None:
    at = _place(broken, dice)
    del broken[at : at + dice.choice((1, 4, 100, 2000))]


def _insert(broken: bytearray, dice: random.Random, _: list[bytes]) -> None:
    at, length = _place(broken, dice), dice.choice((1, 4, 100, 5000))
    broken[at:at] = dice.choice((dice.randbytes(length), bytes(length), broken[at : at + length] * 20))


def _splice(broken: bytearray, dice: random.Random, others: list[bytes]) -> None:
    other = dice.choice(others)
    broken[_place(broken, dice) :] = other[dice.randrange(len(other)) :]


def _number(broken: bytearray, dice: random.Random, _: list[bytes]) -> None:
    """A length, an offset or a count becomes an extreme one, in either order of bytes."""
    size = dice.choice((2, 4, 4, 8))
    value = dice.choice(_EXTREMES) & (2 ** (8 * size) - 1)
    at = _place(broken, dice)
    broken[at : at + size] = value.to_bytes(size, dice.choice(("big", "little")))


def _sides(broken: bytearray, dice: random.Random, _: list[bytes]) -> None:
    """What looks like the picture's width or height in the headers becomes another number."""
    size, order = dice.choice((2, 4)), dice.choice(("big", "little"))
    value = dice.choice((0, 1, 3000, 9000, 16383, 16384, 30000, 65500, 65535, 2**31 - 1, 2**32 - 1)) % 2 ** (8 * size)
    for side in _SIZE:
        at = broken.find(side.to_bytes(size, order), 0, 3000)
        if at >= 0 and dice.random() < 0.7:
            broken[at : at + size] = value.to_bytes(size, order)
            return


def _exif(broken: bytearray, dice: random.Random, _: list[bytes]) -> None:
    """The EXIF is damaged, alone: types, counts and offsets of its entries."""
    at = max(broken.find(b"II*\0", 8), broken.find(b"MM\0*", 8))
    if at < 0:
        return _flip(broken, dice, _)
    for _number in range(dice.choice((1, 3, 12))):
        place = at + 4 + dice.randrange(240)
        if place < len(broken):
            broken[place] = dice.choice((0, 0xFF, dice.randrange(256)))
    return None


_WAYS = (_flip, _flip, _cut, _leave_out, _insert, _splice, _number, _number, _sides, _exif)


def _mend_sums(png: bytearray) -> None:
    """Make the checksums of a PNG's chunks right, so that decoders look at what is in them."""
    at = 8
    while at + 12 <= len(png):
        end = at + 8 + int.from_bytes(png[at : at + 4], "big")
        if end + 4 > len(png):
            return
        png[end : end + 4] = zlib.crc32(png[at + 4 : end]).to_bytes(4, "big")
        at = end + 4


class Fuzz:
    """Reads so many mutated files, and keeps count."""

    def __init__(self, decoders: Decoders, seconds: float, seed: int, keep: Path | None = None) -> None:
        """`seconds` is the limit under which the `decoders` work."""
        self.outcome = Outcome()
        self._decoders = decoders
        self._seconds = seconds
        self._seed = seed
        self._keep = keep
        self._sources = sources()
        self._all = [content for contents in self._sources.values() for content in contents]
        self._expected = {content: decode(content).image.tobytes() for content in self._all}
        self._pids: set[int] = set()
        self.outcome.tallies = {name: Tally() for name in self._sources}

    def read(self, number: int) -> None:
        """Read file `number` of the seed, and a sound one after whatever went wrong, or now and then."""
        dice = random.Random(f"{self._seed} {number}")
        name = list(self._sources)[number % len(self._sources)]
        content = mutated(dice.choice(self._sources[name]), dice, self._all)
        tally = self.outcome.tallies[name]
        tally.tried += 1
        with self._decoders.worker() as worker:
            _forget_peak(worker.pid)
            began = time.perf_counter()
            (found,) = measured(worker, [content], PREPROCESS)
            took = time.perf_counter() - began
            tally.longest = max(tally.longest, took)
            tally.peak = max(tally.peak, _peak(worker.pid))
        if isinstance(found, MeasuredPhoto):
            tally.decoded += 1
        else:
            self._refused(name, number, content, found)
        # What is left of a process that was ended at the limit is waited for, and another is started.
        if took > self._seconds + 10:
            self.outcome.wrong.append(f"{name} {number} took {took:.1f} s")
        if number % 20 == 0 or (isinstance(found, PhotoError) and _kind(found) in ("died", "too long", "memory")):
            self._read_sound(dice.choice(self._all))

    def _refused(self, name: str, number: int, content: bytes, error: PhotoError) -> None:
        kind = _kind(error)
        self.outcome.tallies[name].refused[kind] += 1
        if kind == "other" or not str(error).isprintable() or len(str(error)) > 300:
            self.outcome.wrong.append(f"{name} {number} is refused with “{error}”")
        if kind in ("died", "too long", "memory"):
            self.outcome.deaths += kind != "memory"
            if self._keep is not None:
                (self._keep / f"{number}-{kind}.{name.lower()}").write_bytes(content)
                print(f"{name} {number}: {error}", file=sys.stderr)

    def _read_sound(self, content: bytes) -> None:
        self.outcome.sound += 1
        if self._decoders.picture(content).tobytes() != self._expected[content]:
            self.outcome.wrong.append("a sound photo was read as another one")


def _kind(error: PhotoError) -> str:
    return next((kind for words, kind in KINDS.items() if words in str(error)), "other")


def _forget_peak(pid: int | None) -> None:
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def _peak(pid: int | None) -> int:
    """The most memory that the process has had, in MiB; 0 where that is not told."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) // 1024
    except (OSError, IndexError, ValueError):
        return 0


def fuzz(files: int, seed: int, *, workers: int, settings: DecodingSettings, keep: Path | None = None) -> Outcome:
    """Read `files` mutated files."""
    pool = Pool(workers, settings)
    try:
        with Decoders(pool) as decoders:
            work = Fuzz(decoders, settings.seconds, seed, keep)
            with ThreadPoolExecutor(workers) as threads:
                for done, _ in enumerate(threads.map(work.read, range(files)), start=1):
                    if done % 1000 == 0:
                        print(f"{done} files", file=sys.stderr, flush=True)
            return work.outcome
    finally:
        pool.close()


def table(outcome: Outcome) -> str:
    """The outcome in lines."""
    kinds = [*dict.fromkeys(KINDS.values()), "other"]
    rows = [["format", "tried", "decoded", *kinds, "longest ms", "peak MiB"]]
    for name, tally in outcome.tallies.items():
        refused = [str(tally.refused[kind]) for kind in kinds]
        rows.append(
            [name, str(tally.tried), str(tally.decoded), *refused, f"{tally.longest * 1e3:.0f}", str(tally.peak)]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in rows]
    lines.append(f"{outcome.sound} sound photos in between; {outcome.deaths} processes died or were ended")
    return "\n".join(lines + [f"WRONG: {sentence}" for sentence in outcome.wrong])


def main() -> int:
    """Measure and print; the exit status is 1 where something happened that must not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--memory", type=int, default=1024, help="MiB")
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    settings = DecodingSettings(seconds=options.seconds, memory=options.memory)
    began = time.perf_counter()
    outcome = fuzz(options.files, options.seed, workers=options.workers, settings=settings, keep=options.keep)
    print(table(outcome))
    print(f"{options.files} files in {time.perf_counter() - began:.0f} s, seed {options.seed}")
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
