"""JPEGs that GPUs decode: measured as elsewhere, and nothing lost where a GPU refuses, fails or dies. torchvision's
decoder for processors stands in for nvJPEG, in the same process of its own."""

from __future__ import annotations

import functools
import io
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hostile_gpu_tasks
import numpy as np
import pytest
import torch
from fake_gpus import FakeGpu, lend
from PIL import Image
from support import photo_files, save_checkpoint

from indexer.decoding import gpu
from indexer.decoding.decoders import Decoders
from indexer.decoding.gpu import GpuDecoders, decoders_for
from indexer.decoding.gpu_tasks import _reduced
from indexer.decoding.settings import DecodingSettings
from indexer.executors.local import LocalExecutor
from indexer.pipeline import ReadAhead, ReadFile
from indexer.report import IndexOptions
from indexer.run import run_index
from indexer.scan import FoundFile
from search.errors import PhotoForNowError
from search.home import Home
from search.models.encoder import load_encoder
from search.models.preprocess import Preprocess

PREPROCESS = Preprocess((160, 160), "shortest", "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
Make = Callable[..., GpuDecoders]


@pytest.fixture(autouse=True)
def _small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Upscaled photos have fewer bytes than a camera's."""
    monkeypatch.setattr(gpu, "FEWEST_BYTES", 10_000)


def made(places: list[str], tasks: str | None = None) -> GpuDecoders:
    decoders = GpuDecoders(places, DecodingSettings(), **({} if tasks is None else {"tasks": tasks}))
    assert decoders.settled.wait(300)  # PyTorch takes its time to start where the machine is busy
    return decoders


@pytest.fixture(scope="module")
def on_gpu() -> Iterator[GpuDecoders]:
    """One process, with PyTorch's CPU device."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu, "_EACH", 1)
        decoders = made(["cpu"])
    yield decoders
    decoders.close()


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], GpuDecoders]]:
    """Processes that do their worst."""
    monkeypatch.setenv("PYTHONPATH", str(Path(hostile_gpu_tasks.__file__).parent))
    monkeypatch.setattr(gpu, "_EACH", 1)
    all_made: list[GpuDecoders] = []

    def make(place: str) -> GpuDecoders:
        all_made.append(made([place], "hostile_gpu_tasks"))
        return all_made[-1]

    yield make
    for decoders in all_made:
        decoders.close()


@functools.cache
def _photos() -> list[Image.Image]:
    return [Image.open(file).convert("RGB") for file in photo_files()[:5]]


def jpeg(number: int, size: tuple[int, int] = (2400, 1800), mode: str = "RGB", **options: Any) -> bytes:
    orientation = options.pop("orientation", None)
    if orientation:
        exif = Image.Exif()
        exif[274], exif[272] = orientation, "Model"
        options["exif"] = exif
    content = io.BytesIO()
    source = _photos()[number].resize(size, Image.Resampling.BILINEAR)
    source.convert(mode).save(content, "JPEG", **{"quality": 90, **options})
    return content.getvalue()


@pytest.fixture(scope="module")
def sound() -> list[bytes]:
    """JPEGs as cameras write them, with sides that no factor divides, too, and in all kinds of positions."""
    return [
        jpeg(0),
        jpeg(1, (2401, 1799), orientation=6),
        jpeg(2, (1801, 2402), orientation=3, subsampling=0),
        jpeg(3, (3003, 1503), orientation=8, subsampling=1),
        jpeg(4, (2000, 2003), orientation=5),
    ]


def files(folder: Path, contents: list[bytes]) -> list[FoundFile]:
    found = []
    for number, content in enumerate(contents):
        (folder / f"{number}.jpg").write_bytes(content)
        found.append(FoundFile(os.fsencode(folder), f"{number}.jpg".encode(), len(content), 1))
    return found


def read(found: list[FoundFile], decoders: Decoders, on_gpus: GpuDecoders | None) -> list[ReadFile]:
    return list(ReadAhead(found, PREPROCESS, decoders, known=lambda _: False, look_ahead=64, on_gpus=on_gpus))


class Hanging:
    """Takes no photo, and from the second time on takes its time over it, until it is closed."""

    threads = 1
    given_up = False

    def __init__(self) -> None:
        self._asked = 0
        self._closed = threading.Event()

    def measured(self, contents: dict[int, bytes], preprocess: Preprocess) -> dict[int, Any]:
        self._asked += 1
        if self._asked > 1:
            self._closed.wait(60)
        return {}

    def close(self) -> None:
        self._closed.set()


def test_who_ends_early_waits_for_no_gpu(
    tmp_path: Path, home: Home, decoders: Decoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = files(tmp_path, [jpeg(0, (96, 64))] * 64)
    hanging = Hanging()
    monkeypatch.setattr(gpu, "decoders_for", lambda *_: hanging)
    encoder = load_encoder(save_checkpoint(tmp_path / "checkpoint"), device="cpu")

    def fail(_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(encoder, "embed_images", fail)
    executor = LocalExecutor(Decoders(decoders.pool), 4, len(found))
    began = time.monotonic()
    with pytest.raises(RuntimeError, match="broken"):
        list(executor.embed(encoder, found, lambda _: False))
    assert time.monotonic() - began < 30


def facts(file: ReadFile) -> tuple[Any, ...]:
    photo = file.photo
    assert photo is not None
    return file.id, file.size, photo.width, photo.height, photo.format, photo.camera, photo.sort_at


def test_a_photo_is_to_the_catalog_and_the_model_what_it_is_elsewhere(
    sound: list[bytes], tmp_path: Path, decoders: Decoders, on_gpu: GpuDecoders
) -> None:
    found = files(tmp_path, sound)
    assert set(on_gpu.measured(dict(enumerate(sound)), PREPROCESS)) == set(range(len(sound)))
    here, there = (read(found, decoders, which) for which in (None, on_gpu))
    for one, other in zip(here, there, strict=True):
        assert facts(one) == facts(other)
        assert one.photo is not None and other.photo is not None
        assert abs(one.photo.flatness - other.photo.flatness) < 0.05
        assert one.photo.look is not None and other.photo.look is not None
        differing = one.photo.look.perceptual_hash ^ other.photo.look.perceptual_hash
        assert differing.bit_count() <= 4
        previews = [np.frombuffer(photo.look.preview, np.uint8).astype(int) for photo in (one.photo, other.photo)]
        assert np.abs(previews[0] - previews[1]).max() <= 2
    encoder = load_encoder("starter", device="cpu", precision="fp32")
    vectors = [encoder.embed_images(np.stack([file.pixels for file in each])) for each in (here, there)]
    assert (vectors[0] * vectors[1]).sum(axis=1).min() >= 0.999


def test_a_run_has_them_decode_and_ends_them(
    sound: list[bytes], tmp_path: Path, home: Home, on_gpu: GpuDecoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[bool] = []
    monkeypatch.setattr(on_gpu, "close", lambda: closed.append(True))
    monkeypatch.setattr(gpu, "decoders_for", lambda device, files, decoders: on_gpu if device == "cuda" else None)
    lend(monkeypatch, FakeGpu())
    (tmp_path / "photos").mkdir()
    files(tmp_path / "photos", sound)
    before = on_gpu._taken
    name = save_checkpoint(tmp_path / "tiny")
    options = IndexOptions(model=name, precision="fp32", captions="off", concepts="off", device="cuda")
    report = run_index(home, [tmp_path / "photos"], options)
    assert (report.added, report.embedded, report.failed) == (len(sound), len(sound), 0)
    assert on_gpu._taken > before and closed == [True]


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_a_picture_is_reduced_as_pillow_reduces_it(factor: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(pixels).reduce(factor), int)
    found = _reduced(torch.from_numpy(pixels).permute(2, 0, 1), factor).permute(1, 2, 0).numpy()
    assert np.abs(found - expected).max() <= 1


def unsound(sound: bytes) -> dict[str, bytes]:
    rgb = io.BytesIO()
    image = Image.open(io.BytesIO(sound))
    image.save(rgb, "JPEG", quality=90, keep_rgb=True)
    png = io.BytesIO()
    image.resize((300, 200)).save(png, "PNG")
    tables = bytearray(sound)
    at = tables.index(b"\xff\xc4")
    tables[at + 5 : at + 21] = b"\xff" * 16
    return {
        "stored as RGB": rgb.getvalue(),
        "progressive": jpeg(1, progressive=True),
        "grey": jpeg(1, mode="L"),
        "CMYK": jpeg(1, mode="CMYK"),
        "small": jpeg(1, (1200, 900)),
        "PNG": png.getvalue(),
        "cut short": sound[: len(sound) // 2],
        "of a broken table": bytes(tables),
        "of no header": sound[:3] + sound[-20_000:],
    }


def test_what_a_gpu_refuses_or_fails_on_is_read_as_elsewhere(
    sound: list[bytes], tmp_path: Path, decoders: Decoders, on_gpu: GpuDecoders
) -> None:
    others = unsound(sound[0])
    contents = dict(enumerate([sound[0], *others.values(), sound[1]]))
    assert list(on_gpu.measured(contents, PREPROCESS)) == [0, len(others) + 1]
    found = files(tmp_path, list(contents.values()))
    here, there = (read(found, decoders, which) for which in (None, on_gpu))
    assert [file.failure for file in here] == [file.failure for file in there]
    failed = [name for name, file in zip(others, there[1:], strict=False) if file.failure]
    assert failed == ["cut short", "of a broken table", "of no header"]
    for one, other in zip(here, there, strict=True):
        if one.photo is not None:
            assert facts(one) == facts(other) and (one.pixels is None) == (other.pixels is None)
            assert np.abs(np.asarray(one.pixels, int) - np.asarray(other.pixels, int)).mean() < 3


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("not there", "no driver"),
        ("crashes", "SIGSEGV"),
        ("refuses", "nvjpegDecode failed: 6"),
        ("loses photos", "nonsense"),
        ("lies about sizes", "nonsense"),
        ("says nothing", "nonsense"),
    ],
)
def test_a_gpu_of_no_use_costs_no_photo_and_one_line(
    sound: list[bytes],
    tmp_path: Path,
    decoders: Decoders,
    hostile: Callable[[str], GpuDecoders],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    said: str,
) -> None:
    monkeypatch.setattr(gpu, "_OFFERED", 4)
    monkeypatch.setattr("indexer.pipeline.FILES_A_TASK", 1)
    with caplog.at_level(logging.WARNING, "sightline.index"):
        useless = hostile(place)
        done = read(files(tmp_path, sound * 3), decoders, useless)
        for _ in range(3):
            useless.measured({0: sound[0]}, PREPROCESS)
    assert len(done) == 3 * len(sound) and all(file.photo is not None for file in done)
    (line,) = caplog.messages
    assert line.startswith("photos are decoded without a GPU: ") and said in line


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("cuda:99", r"CUDA|NVIDIA|cuda|nvJPEG"),
        ("cpu", r"takes a processor \d+ ms for a photo, which decodes one in \d+ ms"),
    ],
)
def test_a_gpu_that_is_not_there_or_saves_nothing_says_so(on_gpu: GpuDecoders, place: str, said: str) -> None:
    with on_gpu._slots[0].pool.worker(on_gpu) as worker:
        (answer,) = worker.ask("begin", [b""], {"place": place, "saves": True})
    assert isinstance(answer, PhotoForNowError) and re.search(said, str(answer))


def test_gpus_decode_where_the_model_runs_on_them_and_many_photos_are_large(
    decoders: Decoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "GpuDecoders", lambda places, settings: (places, settings))
    lend(monkeypatch, FakeGpu(0), FakeGpu(1))
    large = [FoundFile(b"/photos", b"1.jpg", 4_000_000, 1)] * 2_000
    small = [FoundFile(b"/photos", b"1.jpg", 4_000, 1)] * 10_000
    assert decoders_for("cpu", large, decoders) is None
    assert decoders_for("cuda", large[1:] + small, decoders) is None
    assert decoders_for("cuda", large + small, decoders) == (["cpu", "cpu"], decoders.pool.settings)
