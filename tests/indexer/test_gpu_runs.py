"""Indexing on GPUs, with PyTorch's CPU device in their place."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from fake_gpus import FakeGpu, lend
from support import picture, save_checkpoint

from indexer.embed import embed, look_ahead
from indexer.pipeline import ReadFile
from indexer.progress import Silent
from indexer.report import IndexOptions
from indexer.run import run_index
from indexer.scan import FoundFile
from indexer.watch import Follower
from search.engine import Engine, Request
from search.errors import GpuError, ModelError
from search.home import Home
from search.models.encoder import Encoder, load_encoder
from search.models.gpu import Work

Vectors = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def name(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_checkpoint(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def on_gpus(name: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Encoder]:
    """The model on GPUs."""

    def load(*gpus: FakeGpu) -> Encoder:
        lend(monkeypatch, *gpus)
        return load_encoder(name, device="cuda", precision="fp32")

    return load


def read(count: int) -> list[ReadFile]:
    """Files that were read, one in five of which failed."""
    pixels = np.random.default_rng(1).integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)
    found = [FoundFile(b"/photos", f"{number}.jpg".encode(), 1, 1) for number in range(count)]
    return [
        ReadFile(one, failure="it is empty") if number % 5 == 4 else ReadFile(one, pixels=pixels[number])
        for number, one in enumerate(found)
    ]


def embedded(encoder: Encoder, files: Sequence[ReadFile], size: int) -> tuple[list[ReadFile], Vectors]:
    groups = list(embed(encoder, files, len(files), size))
    return [file for group, _ in groups for file in group], np.concatenate([vectors for _, vectors in groups])


def ordinary(name: str, files: Sequence[ReadFile]) -> Vectors:
    encoder = load_encoder(name, device="cpu", precision="fp32")
    return encoder.embed_images(np.stack([file.pixels for file in files if file.pixels is not None]))


def alike(found: Vectors, expected: Vectors) -> bool:
    return found.shape == expected.shape and bool(((found * expected).sum(axis=1) >= 0.999).all())


def test_two_gpus_embed_each_photo_once(name: str, on_gpus: Callable[..., Encoder]) -> None:
    both = threading.Barrier(2)

    class Waits(FakeGpu):
        """It has not done with its first batch before the other has one as well."""

        def finished(self) -> Callable[[], None]:
            if not self.work:
                both.wait(20)
            return super().finished()

    gpus, files = [Waits(0), Waits(1)], read(103)
    done, vectors = embedded(on_gpus(*gpus), files, 40)
    assert done == files and alike(vectors, ordinary(name, files))
    assert sum(gpu.work.count("finished") for gpu in gpus) == 3 and all(gpu.work for gpu in gpus)
    assert look_ahead("cuda", 40) == 2 * 3 * 40


def test_the_error_of_one_gpu_ends_the_run_with_its_words(on_gpus: Callable[..., Encoder]) -> None:
    class Broken(FakeGpu):
        def finished(self) -> Callable[[], None]:
            raise RuntimeError("CUDA error: uncorrectable ECC error encountered\nmore lines")

    with pytest.raises(ModelError, match=r"GPU failed .*uncorrectable ECC error encountered\): run the command again"):
        embedded(on_gpus(FakeGpu(0), Broken(1)), read(100), 8)


def test_a_second_gpu_that_cannot_be_used_is_left_out(
    name: str, on_gpus: Callable[..., Encoder], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from search.models.image_tower import ImageTower

    class Other(FakeGpu):
        model = "an older one"

    def cannot(self: ImageTower, gpu: FakeGpu, preprocess: object) -> ImageTower:
        raise RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable\nmore lines")

    files = read(40)
    monkeypatch.setattr(ImageTower, "copied_to", cannot)
    first, second = FakeGpu(0), Other(1)
    done, vectors = embedded(on_gpus(first, second), files, 8)  # never asked
    assert done == files and alike(vectors, ordinary(name, files)) and not caplog.messages and not second.work
    first, second = FakeGpu(0), FakeGpu(1)
    done, vectors = embedded(on_gpus(first, second), files, 8)
    assert done == files and alike(vectors, ordinary(name, files)) and not second.work
    assert "cpu is left out: CUDA error: all CUDA-capable devices are busy" in caplog.text


def test_who_follows_folders_ends_with_a_gpu_that_failed(
    name: str, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(FakeGpu):
        def finished(self) -> Callable[[], None]:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    photos = tmp_path / "photos"
    photos.mkdir()
    picture(photos / "1.jpg", 1)
    options = IndexOptions(model=name, captions="off", concepts="off", device="cuda", precision="fp32")
    lend(monkeypatch, FakeGpu())
    run_index(home, [photos], options)
    picture(photos / "2.jpg", 2)
    lend(monkeypatch, Broken())
    with pytest.raises(GpuError, match="illegal memory access"):
        Follower(home, options, Silent(), watch=False, patient=True).run()


class Small(FakeGpu):
    """It holds so many photos."""

    def __init__(self, holds: int) -> None:
        super().__init__()
        self.holds = holds
        self.asked: list[int] = []

    def recorded(self, work: Work, example: torch.Tensor) -> Work:
        self._check(len(example))
        return super().recorded(work, example)

    def _check(self, size: int) -> None:
        self.asked.append(size)
        if size > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Small]:
    """A GPU on which the image tower computes no more photos than it holds."""
    from search.models.image_tower import ImageTower

    computed = ImageTower._embedded

    def embedded(self: ImageTower, pixels: torch.Tensor) -> torch.Tensor:
        assert isinstance(self.gpu, Small)
        self.gpu._check(len(pixels))
        return computed(self, pixels)

    monkeypatch.setattr(ImageTower, "_embedded", embedded)
    return Small


def test_a_batch_that_does_not_fit_is_halved_and_so_are_those_that_follow(
    name: str, on_gpus: Callable[..., Encoder], small: Callable[[int], Small], caplog: pytest.LogCaptureFixture
) -> None:
    gpu, files = small(9), read(200)
    done, vectors = embedded(on_gpus(gpu), files, 32)
    assert done == files and alike(vectors, ordinary(name, files))
    # 32 could not be recorded; then it was tried by each of the two threads at most, and 16 by the same.
    tried = [size for size in gpu.asked if size > 9]
    assert tried[0] == 32 and len(tried) <= 5 and 8 in gpu.asked
    assert "32 photos at once do not fit into memory: 16 go" in caplog.text


def test_a_model_that_embeds_not_even_one_photo_there_is_one_sentence(
    on_gpus: Callable[..., Encoder], small: Callable[[int], Small]
) -> None:
    with pytest.raises(ModelError, match="does not fit into the memory of the device cuda, even with one photo"):
        embedded(on_gpus(small(0)), read(10), 4)


def test_a_library_that_is_indexed_on_two_gpus_answers(
    name: str, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = [FakeGpu(0), FakeGpu(1)]
    lend(monkeypatch, *gpus)
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(12):
        picture(photos / f"{number}.jpg", number)
    (photos / "torn.jpg").write_bytes((photos / "0.jpg").read_bytes()[:200])
    options: dict[str, Any] = {"model": name, "captions": "off", "concepts": "off", "device": "cuda"}
    report = run_index(home, [photos], IndexOptions(precision="fp32", batch_size=4, **options))
    assert (report.added, report.embedded, report.failed) == (12, 12, 1)
    assert all("finished" in gpu.work for gpu in gpus)
    with Engine.open(home) as engine:
        answer = engine.search(Request("anything", mode="meaning", include_all=True, limit=20))
        assert {Path(hit.path).stem for hit in answer.hits} == {str(number) for number in range(12)}
