"""The image teacher: a classifier's last feature map of every picture, compressed, and the means to undo it.

A TensorFlow Lite classifier is run once over each whole picture. Its last map (for MobileNetV2 7 x 7 x 1280) is kept as
int8 in its own principal components: small enough to keep for every picture, and, being a map, it gives a target for
any crop of the picture too ("function matching", Beyer et al. 2022, without running the teacher again).
"""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from training.pictures import Pictures, load
from training.recipe import RecipeError
from training.run import Run

# As many of the classifier's principal components are kept.
COMPONENTS = 512
_SAMPLE = 6000
_CHUNK = 256
# By how much a classifier's last map is coarser than its picture.
_STRIDE = 32
# An int8 step in standard deviations of a component: 127 steps reach four of them.
_STEP = 4 / 127


@dataclass(frozen=True)
class Projection:
    """What turns the classifier's features into the stored components.

    Attributes:
        mean: float32 [channels], of the features at one place.
        components: float32 [components, channels], orthonormal rows.
        std: float32 [components], of each component over places and pictures.
        kept: the share of the pooled features' variance that the components hold.
    """

    mean: npt.NDArray[np.float32]
    components: npt.NDArray[np.float32]
    std: npt.NDArray[np.float32]
    kept: float

    @property
    def strength(self) -> Tensor:
        """By how much each unit-variance component is to count: between whitened and as large as it was, float32."""
        return torch.from_numpy(self.std).sqrt()

    def compress(self, maps: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
        """Maps [..., channels] as int8 [..., components]; see `uncompressed`, they are components of unit variance."""
        # By torch, whose threads a worker can keep to one: NumPy's would fight over the cores.
        components = torch.from_numpy(maps - self.mean) @ torch.from_numpy(self.components).T
        steps = np.rint(components.numpy() / (self.std * _STEP))
        return np.asarray(np.clip(steps, -127, 127), dtype=np.int8)


def uncompressed(maps: Tensor) -> Tensor:
    """Stored maps, int8, as components of about unit variance, float32."""
    return maps.float() * _STEP


class Classifier:
    """A TensorFlow Lite classifier, run one picture at a time on one thread."""

    def __init__(self, file: Path) -> None:
        """Load it and find its last feature map."""
        from ai_edge_litert.interpreter import Interpreter

        # Keeping all tensors is what makes the map before the pooling readable afterwards; it warns of the memory.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._interpreter: Any = Interpreter(str(file), num_threads=1, experimental_preserve_all_tensors=True)
        self._interpreter.allocate_tensors()
        entry = self._interpreter.get_input_details()[0]
        if entry["dtype"] != np.uint8:
            raise RecipeError(f"The image teacher {file} does not take uint8 pixels.")
        self._input = entry["index"]
        self._size = (int(entry["shape"][2]), int(entry["shape"][1]))
        side = self._size[0] // _STRIDE
        maps = [d for d in self._interpreter.get_tensor_details() if tuple(d["shape"][:3]) == (1, side, side)]
        if not maps:
            raise RecipeError(f"The image teacher {file} has no feature map of {side} x {side} places.")
        last = max(maps, key=lambda detail: int(detail["shape"][3]))
        self._map = last["index"]
        self._scale, self._zero = last["quantization"]

    def features(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """The last feature map [height, width, channels] of a picture uint8 [h, w, 3]."""
        resized = Image.fromarray(picture).resize(self._size, Image.Resampling.BICUBIC)
        self._interpreter.set_tensor(self._input, np.asarray(resized)[None])
        self._interpreter.invoke()
        found = self._interpreter.get_tensor(self._map)[0].astype(np.float32)
        return np.asarray((found - self._zero) * self._scale, dtype=np.float32)


def fit_projection(run: Run, file: Path, sets: list[tuple[Pictures, int]]) -> Projection:
    """The principal components of the features of a sample of pictures.

    Args:
        run: where they are kept; those that are there already are taken.
        file: the classifier.
        sets: pictures, each with the share of the sample that they make up.
    """
    if not run.path("teacher/projection.pt").exists():
        classifier = Classifier(file)
        rng = np.random.default_rng(0)
        total = sum(share for _, share in sets)
        rows = [
            classifier.features(pictures.pixels[row])
            for pictures, share in sets
            for row in rng.choice(len(pictures), min(len(pictures), int(_SAMPLE * share / total)), replace=False)
        ]
        maps = np.stack(rows)
        pooled = maps.mean(axis=(1, 2))
        places = maps.reshape(-1, maps.shape[-1])
        mean = pooled.mean(axis=0)
        # What tells pictures apart comes first; what differs within a picture is ten times as large, and mostly noise.
        covariance = np.cov(pooled.T) + 0.02 * np.cov(places[:: max(1, len(places) // 50_000)].T)
        _, vectors = np.linalg.eigh(covariance)
        components = np.ascontiguousarray(vectors[:, ::-1][:, :COMPONENTS].T, dtype=np.float32)
        kept = float((((pooled - mean) @ components.T) ** 2).sum() / ((pooled - mean) ** 2).sum())
        std = ((places - mean) @ components.T).std(axis=0) + np.float32(1e-6)
        arrays = {"mean": mean.astype(np.float32), "components": components, "std": std.astype(np.float32)}
        run.save("teacher/projection.pt", {**{k: torch.from_numpy(v) for k, v in arrays.items()}, "kept": kept})
        run.log("teacher", components=len(components), variance_kept=round(kept, 4))
    return load_projection(run)


def load_projection(run: Run) -> Projection:
    """The projection that `fit_projection` has saved."""
    found = run.load("teacher/projection.pt", made_by="teacher")
    assert found is not None
    return Projection(found["mean"].numpy(), found["components"].numpy(), found["std"].numpy(), float(found["kept"]))


def load_maps(run: Run, name: str) -> npt.NDArray[np.int8]:
    """The maps of a set, int8 [n, height, width, components] (a memory map)."""
    found: npt.NDArray[np.int8] = np.load(run.path(f"maps/{name}.npy", made_by="teacher"), mmap_mode="r")
    return found


def extract(
    run: Run, file: Path, pictures: Pictures, projection: Projection, workers: int, progress: Callable[[str], None]
) -> None:
    """Compute a set's maps, int8 [n, height, width, components] in `maps/NAME.npy`, on from where it was left."""
    final, part = run.path(f"maps/{pictures.name}.npy"), run.path(f"maps/{pictures.name}.part")
    if final.exists():
        return
    counter = f"maps/{pictures.name}.json"
    side = Classifier(file).features(pictures.pixels[0]).shape[0]
    if part.exists() and run.path(counter).exists():
        maps = np.load(part, mmap_mode="r+")
        done = int(run.read_json(counter, made_by="teacher")["done"])
    else:
        shape = (len(pictures), side, side, len(projection.std))
        maps, done = np.lib.format.open_memmap(part, mode="w+", dtype=np.int8, shape=shape), 0
    jobs = [(start, min(start + _CHUNK, len(pictures))) for start in range(done, len(pictures), _CHUNK)]
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, _start_worker, (run.folder, pictures.name, file, projection)) as pool:
        for (start, stop), chunk in zip(jobs, pool.imap(_compute, jobs), strict=True):
            maps[start:stop] = chunk
            maps.flush()
            run.save_json(counter, {"done": stop})
            progress(f"{pictures.name}: {stop:,} of {len(pictures):,} maps")
    part.replace(final)
    run.path(counter).unlink(missing_ok=True)


_worker: tuple[Classifier, Pictures, Projection]


def _start_worker(folder: Path, name: str, file: Path, projection: Projection) -> None:
    global _worker
    torch.set_num_threads(1)
    _worker = (Classifier(file), load(Run(folder), name), projection)


def _compute(job: tuple[int, int]) -> npt.NDArray[np.int8]:
    classifier, pictures, projection = _worker
    return projection.compress(np.stack([classifier.features(pictures.pixels[row]) for row in range(*job)]))
