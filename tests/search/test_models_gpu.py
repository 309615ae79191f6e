"""The image tower on GPUs, with PyTorch's CPU device in their place."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from fake_gpus import FakeGpu, lend
from support import save_checkpoint

from search.models.device import choose_device, choose_precision, is_out_of_memory
from search.models.encoder import Encoder, load_encoder
from search.models.gpu import Work

Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def name(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_checkpoint(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (21, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def expected(name: str, pixels: Pixels) -> npt.NDArray[np.float32]:
    """What the ordinary path makes of `pixels`."""
    return load_encoder(name, device="cpu", precision="fp32").embed_images(pixels)


@pytest.fixture
def on_gpus(name: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Encoder]:
    """The model on GPUs."""

    def load(*gpus: FakeGpu, precision: str = "fp32") -> Encoder:
        lend(monkeypatch, *gpus)
        return load_encoder(name, device="cuda", precision=precision)

    return load


def assert_alike(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> None:
    assert found.shape == expected.shape and found.dtype == np.float32
    assert (found * expected).sum(axis=1).min() >= 0.999


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_photos_embed_as_on_a_cpu_in_recorded_batches_and_in_others(
    on_gpus: Callable[..., Encoder], pixels: Pixels, expected: npt.NDArray[np.float32], precision: str
) -> None:
    gpu = FakeGpu()
    encoder = on_gpus(gpu, precision=precision)
    assert (encoder.device, encoder.precision, encoder.runtime) == ("cuda", precision, "pytorch")
    assert encoder.prepare_images(total=1000, size=8) == 2
    assert gpu.work.count("recorded") == 1 and gpu.work.count("replayed") == 1  # and held against the tower itself
    parts = [encoder.embed_images(pixels[at : at + 8]) for at in (0, 8, 16)]
    assert gpu.work.count("replayed") == 3  # the last batch is a shorter one
    assert_alike(np.concatenate(parts), expected)
    encoder.prepare_images(total=1000, size=8)
    assert gpu.work.count("recorded") == 1
    assert_alike(encoder.embed_images(pixels), expected)  # larger than any before


def test_pixels_that_cannot_be_written_to_are_taken(
    on_gpus: Callable[..., Encoder], pixels: Pixels, expected: npt.NDArray[np.float32]
) -> None:
    frozen = pixels[::-1].copy()
    frozen.flags.writeable = False
    assert_alike(on_gpus(FakeGpu()).embed_images(frozen[::-1]), expected)


def test_a_short_run_records_nothing(on_gpus: Callable[..., Encoder]) -> None:
    gpu = FakeGpu()
    on_gpus(gpu).prepare_images(total=31, size=8)
    assert gpu.work.count("recorded") == 0


class Refuses(FakeGpu):
    def recorded(self, work: Work, example: torch.Tensor) -> Work:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore lines")


class Distorts(FakeGpu):
    def recorded(self, work: Work, example: torch.Tensor) -> Work:
        replay = super().recorded(work, example)
        return lambda pixels: replay(pixels).flip(1)


@pytest.mark.parametrize(("gpu", "why"), [(Refuses(), "not permitted"), (Distorts(), "embeddings differ")])
def test_what_cannot_be_recorded_is_said_once_and_computed_as_it_comes(
    on_gpus: Callable[..., Encoder],
    pixels: Pixels,
    expected: npt.NDArray[np.float32],
    caplog: pytest.LogCaptureFixture,
    gpu: FakeGpu,
    why: str,
) -> None:
    encoder = on_gpus(gpu)
    with caplog.at_level(logging.WARNING, "sightline.models"):
        for _ in range(2):
            encoder.prepare_images(total=1000, size=7)
    (line,) = caplog.messages
    assert why in line and "\n" not in line
    assert_alike(np.concatenate([encoder.embed_images(pixels[at : at + 7]) for at in (0, 7, 14)]), expected)


def test_a_gpu_computes_one_batch_while_it_is_given_the_next(
    on_gpus: Callable[..., Encoder], pixels: Pixels, expected: npt.NDArray[np.float32]
) -> None:
    second_began = threading.Event()

    class Watched(FakeGpu):
        def finished(self) -> Callable[[], None]:
            if len(self.work) == 0:
                self.work.append("first")
                return lambda: self.work.append("overlap" if second_began.wait(20) else "alone")
            second_began.set()
            return lambda: None

    gpu = Watched()
    encoder = on_gpus(gpu)
    found: dict[int, npt.NDArray[np.float32]] = {}
    halves = {0: pixels[:10], 10: pixels[10:]}
    threads = [
        threading.Thread(target=lambda at=at: found.update({at: encoder.embed_images(halves[at])})) for at in halves
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "overlap" in gpu.work
    assert_alike(np.concatenate([found[0], found[10]]), expected)


def test_as_many_gpus_are_taken_as_the_photos_keep_busy(on_gpus: Callable[..., Encoder], pixels: Pixels) -> None:
    gpus = [FakeGpu(number) for number in range(3)]
    encoder = on_gpus(*gpus)
    assert encoder.prepare_images(total=8, size=8) == 2
    assert encoder.prepare_images(total=9, size=8) == 4
    assert encoder.prepare_images(total=800, size=8) == 6
    for _ in range(6):
        encoder.embed_images(pixels)
    assert [gpu.work.count("finished") for gpu in gpus] == [2, 2, 2]


def test_a_gpu_without_room_for_the_model_is_left_out(
    on_gpus: Callable[..., Encoder], pixels: Pixels, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search.models.image_tower import ImageTower

    copied_to = ImageTower.copied_to

    def small(self: ImageTower, gpu: FakeGpu, preprocess: object) -> ImageTower:
        if gpu.number == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return copied_to(self, gpu, preprocess)  # type: ignore[arg-type]

    monkeypatch.setattr(ImageTower, "copied_to", small)
    gpus = [FakeGpu(0), FakeGpu(1)]
    encoder = on_gpus(*gpus)
    assert encoder.prepare_images(total=800, size=8) == 2 and encoder.prepare_images(total=800, size=8) == 2
    assert len(caplog.messages) == 1 and "left out" in caplog.text
    assert len(encoder.embed_images(pixels)) == len(pixels)


def test_devices_and_precisions_follow_what_the_process_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    old = FakeGpu(1)
    old.computes_bf16 = False  # type: ignore[misc]
    lend(monkeypatch, FakeGpu(0))
    assert choose_device("cuda") == "cuda" and choose_precision("auto", "cuda") == "bf16"
    lend(monkeypatch, FakeGpu(0), old)  # the first decides, and others are used only if they are like it
    assert choose_precision("auto", "cuda") == "bf16"
    lend(monkeypatch, old, FakeGpu(0))
    assert choose_precision("auto", "cuda") == "fp16"


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    ],
)
def test_every_part_of_cuda_says_that_memory_ran_out(error: Exception) -> None:
    assert is_out_of_memory(error)
    assert not is_out_of_memory(RuntimeError("CUDA error: an illegal memory access was encountered"))


def test_weights_and_texts_are_the_same_on_a_gpu(on_gpus: Callable[..., Encoder], name: str) -> None:
    there, here = on_gpus(FakeGpu()), load_encoder(name, device="cpu", precision="fp32")
    assert there.fingerprint == here.fingerprint
    np.testing.assert_allclose(there.embed_texts(["a dog"]), here.embed_texts(["a dog"]), atol=1e-5)
