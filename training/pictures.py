"""Photos decoded once into memory maps, so that decoding never bounds training."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from training.recipe import PhotoSet, RecipeError
from training.run import Run


@dataclass(frozen=True)
class Pictures:
    """One set's photos: `pixels` uint8 [n, side, side, 3] (a memory map), each one's file name and class or None."""

    name: str
    pixels: npt.NDArray[np.uint8]
    files: list[str]
    classes: list[str | None]

    def __len__(self) -> int:
        """How many photos there are."""
        return len(self.files)

    def sample(self, most: int) -> Pictures:
        """At most so many of them, at random but always the same."""
        if len(self) <= most:
            return self
        rows = np.sort(np.random.default_rng(0).choice(len(self), most, replace=False))
        files, classes = [self.files[row] for row in rows], [self.classes[row] for row in rows]
        return Pictures(self.name, self.pixels[rows], files, classes)


def prepare(run: Run, photos: PhotoSet, pool: Executor) -> Pictures:
    """Have a set's photos decoded by `pool`; a set that is there already is left as it is. Unreadable photos are left
    out."""
    if not run.path(f"pictures/{photos.name}.json").exists():
        files = photos.files()
        if not files:
            raise RecipeError(f"The set {photos.name} has no photos under {photos.folder}.")
        _decode_all(run, photos, files, pool)
    return load(run, photos.name)


def load(run: Run, name: str) -> Pictures:
    """A set that `prepare` has decoded."""
    about: dict[str, Any] = run.read_json(f"pictures/{name}.json", made_by="prepare")
    pixels = np.load(run.path(f"pictures/{name}.npy", made_by="prepare"), mmap_mode="r")
    # Behind the last readable photo the file has rows to spare.
    return Pictures(name, pixels[: len(about["files"])], about["files"], about["classes"])


def _decode_all(run: Run, photos: PhotoSet, files: list[Path], pool: Executor) -> None:
    classes = photos.classes(files)  # before the work, so that a mistake in the labels costs none
    part = run.path(f"pictures/{photos.name}.part")
    pixels = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=(len(files), photos.side, photos.side, 3))
    readable: list[int] = []
    jobs = [(path, photos.side) for path in files]
    for row, picture in enumerate(pool.map(_decode, jobs, chunksize=64)):
        if picture is not None:
            pixels[len(readable)] = picture
            readable.append(row)
    pixels.flush()
    del pixels
    if not readable:
        part.unlink()
        raise RecipeError(f"None of the {len(files)} photos of the set {photos.name} can be read.")
    part.replace(run.path(f"pictures/{photos.name}.npy"))
    about = {
        "files": [str(files[row].relative_to(photos.folder)) for row in readable],
        "classes": [classes[row] for row in readable],
    }
    run.save_json(f"pictures/{photos.name}.json", about)
    run.log("prepare", set=photos.name, photos=len(readable), unreadable=len(files) - len(readable))


def _decode(job: tuple[Path, int]) -> npt.NDArray[np.uint8] | None:
    path, side = job
    try:
        with Image.open(path) as image:
            image.draft("RGB", (side, side))
            return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
