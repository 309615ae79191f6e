"""Models that are converted for processors embed as before, start without PyTorch, and tell nobody."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support import TINY, photos, picture, save_checkpoint

from indexer.embed import embed
from indexer.report import IndexOptions
from indexer.run import run_index
from search.errors import ModelError, SettingsError
from search.home import Home
from search.models import conversions, hub, openvino_runtime
from search.models.device import is_out_of_memory
from search.models.encoder import Encoder, _of_open_clip, facts_of, load_encoder, quiet
from search.models.names import resolve

TEXTS = ["a dog runs on the beach", "Two children, playing football!", "", "été ☀", "word " * 200]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


@pytest.fixture(scope="module")
def conversions_made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[str, Path]]:
    """Converts `starter`, or a `custom` model, when it is first asked for: the model's name, and a cache with it."""
    folder = tmp_path_factory.mktemp("conversions")

    @functools.cache
    def make(model: str) -> tuple[str, Path]:
        name = model if model == "starter" else save_checkpoint(folder / "checkpoint")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SIGHTLINE_CACHE", str(folder / model))
            load_encoder(name, device="cpu", convert=True)
        return name, folder / model

    return make


@pytest.fixture
def converted(cache: Path, conversions_made: Callable[[str], tuple[str, Path]]) -> Callable[[str], str]:
    """Puts a conversion of such a model into the cache; returns its name. Its weights are for all tests."""

    def put(model: str) -> str:
        name, made = conversions_made(model)
        shutil.copytree(made, cache.parent)
        return name

    return put


def kept(cache: Path) -> list[str]:
    return sorted(os.listdir(cache)) if cache.is_dir() else []


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x40
    put_in_place(file, content)


def put_in_place(file: Path, content: bytes) -> None:
    """Another file, since a model that is still loaded may have mapped the one that is there."""
    file.unlink()
    file.write_bytes(content)


def embeddings(encoder: Encoder) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    pixels = np.stack([encoder.preprocess(image) for image in photos()[:8]])
    return encoder.embed_images(pixels), encoder.embed_texts(TEXTS)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("model", ["starter", "custom"])
def test_they_embed_as_pytorch_does(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, precision: str
) -> None:
    name = model if model == "starter" else save_checkpoint(tmp_path / "checkpoint")
    ours = load_encoder(name, device="cpu", precision=precision, convert=True, streams=2)
    monkeypatch.setenv("SIGHTLINE_RUNTIME", "pytorch")
    theirs = load_encoder(name, device="cpu", precision=precision)
    assert (ours.runtime, theirs.runtime) == ("openvino", "pytorch")
    facts = ("name", "fingerprint", "dim", "precision", "logit_scale", "logit_bias", "preprocess")
    assert [getattr(ours, fact) for fact in facts] == [getattr(theirs, fact) for fact in facts]
    for here, there in zip(embeddings(ours), embeddings(theirs), strict=True):
        assert here.dtype == np.float32
        assert (here * there).sum(axis=1).min() > (0.99999 if precision == "fp32" else 0.998)
        np.testing.assert_allclose(np.linalg.norm(here, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("text_cfg", "custom", "short"),
    [
        ({}, False, True),  # as CLIP: attention looks back, the last token speaks for all
        ({}, True, True),
        ({"pool_type": "last"}, True, False),
        ({"no_causal_mask": True}, True, False),  # as SigLIP: it looks at what fills up, too
    ],
)
def test_texts_are_filled_up_no_further_than_a_model_needs(
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text_cfg: dict[str, object],
    custom: bool,
    short: bool,
) -> None:
    config = {**TINY, "text_cfg": {**TINY["text_cfg"], "context_length": 77, **text_cfg}, "custom_text": custom}
    name = save_checkpoint(tmp_path / "checkpoint", config)
    ours = load_encoder(name, device="cpu", precision="fp32", convert=True)
    assert ours.runtime == "openvino"
    lengths: list[int] = []
    infer = conversions.CompiledNetwork.__call__
    monkeypatch.setattr(
        conversions.CompiledNetwork,
        "__call__",
        lambda self, batch: (lengths.append(batch.shape[1]), infer(self, batch))[1],
    )
    found = np.concatenate([ours.embed_texts([text]) for text in TEXTS])
    assert lengths == ([8, 8, 8, 8, 77] if short else [77] * 5)
    np.testing.assert_allclose(ours.embed_texts(TEXTS), found, atol=1e-4)  # whatever they are embedded with
    monkeypatch.setenv("SIGHTLINE_RUNTIME", "pytorch")
    theirs = load_encoder(name, device="cpu", precision="fp32")
    np.testing.assert_allclose(found, theirs.embed_texts(TEXTS), atol=2e-3)


def test_once_converted_nothing_is_imported_of_pytorch_and_nobody_is_told(converted: Callable[[str], str]) -> None:
    converted("starter")
    program = """
import socket, sys
def refuse(*given): raise AssertionError("a connection is opened")
socket.socket.connect = refuse
from search.models.encoder import load_encoder
encoder = load_encoder("starter")
encoder.embed_texts(["a dog"])
encoder.embed_images(__import__("numpy").zeros((3, 160, 160, 3), "uint8"))
assert encoder.runtime == "openvino"
heavy = {"torch", "open_clip", "transformers", "timm", "openvino.tools", "ftfy"} & set(sys.modules)
assert not heavy, heavy
# OpenVINO's own package of that name reports imports and conversions to its makers.
assert sys.modules["openvino_telemetry"] is None
# Its converter is imported for whoever asks for it, and not before.
from openvino import convert_model
try:
    convert_model("nothing.xml")
except Exception as error:
    assert "nothing.xml" in str(error)
else:
    raise AssertionError("it converts nothing")
"""
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONWARNINGS": "error"})


def test_threads_may_ask_for_the_first_texts_at_once(converted: Callable[[str], str]) -> None:
    converted("starter")
    program = """
import sys, threading
from search.models.encoder import load_encoder
encoder = load_encoder("starter")
barrier, found = threading.Barrier(4), []
def ask(number):
    barrier.wait()
    found.append(encoder.embed_texts([f"a dog {number}"]).shape)
threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join(20)
sys.stdout.write(str(found))
"""
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=120)
    assert said.stdout == str([(1, 384)] * 4)


def test_a_conversion_belongs_to_the_files_it_was_made_from(cache: Path, tmp_path: Path) -> None:
    name = save_checkpoint(tmp_path / "checkpoint", seed=0)
    first = load_encoder(name, device="cpu", convert=True)
    before = kept(cache)
    assert len(before) == 1
    save_checkpoint(tmp_path / "checkpoint", seed=1)
    second = load_encoder(name, device="cpu")
    assert second.runtime == "pytorch" and second.fingerprint != first.fingerprint
    assert load_encoder(name, device="cpu", convert=True).fingerprint == second.fingerprint
    assert len(kept(cache)) == 1 and kept(cache) != before  # that of the former weights has gone


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("images.bin", "flipped"),
        ("images.xml", "gone"),
        ("texts.bin", "cut"),
        ("texts.xml", "flipped"),
        ("facts", "flipped"),
        ("tokenizer.json", "flipped"),
        ("tokenizer.json", "gone"),
    ],
)
def test_a_damaged_one_is_never_used_and_made_anew(
    cache: Path, converted: Callable[[str], str], file: str, damage: str
) -> None:
    name = converted("custom")
    expected = embeddings(load_encoder(name, device="cpu", precision="fp32"))
    path = cache / kept(cache)[0] / file
    if damage == "flipped":
        flip_a_bit(path)
    elif damage == "cut":
        put_in_place(path, path.read_bytes()[:-10])
    else:
        path.unlink()
    encoder = load_encoder(name, device="cpu", precision="fp32")
    for found, wanted in zip(embeddings(encoder), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-3)
    assert encoder.runtime == "pytorch"
    assert load_encoder(name, device="cpu", precision="fp32", convert=True).runtime == "openvino"


def test_what_compiling_made_is_kept_and_made_anew_where_it_is_damaged(
    cache: Path, converted: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = converted("custom")
    expected = embeddings(load_encoder(name, device="cpu"))
    folder = cache / kept(cache)[0] / "compiled"
    texts, images = (file.read_bytes() for file in sorted(folder.iterdir(), reverse=True))
    flipped = bytearray(texts)
    flipped[len(flipped) // 2] ^= 0x40
    for of_texts, of_images in ((texts, images), (flipped, images[:-10]), (images, texts)):
        for file, content in zip(sorted(folder.iterdir(), reverse=True), (of_texts, of_images), strict=True):
            file.write_bytes(content)
        encoder = load_encoder(name, device="cpu")
        for found, wanted in zip(embeddings(encoder), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
        assert encoder.runtime == "openvino"
        assert {len(list(folder.glob(f"{tower}-*.blob"))) for tower in ("texts", "images")} == {1}
    # What is kept is compiled no second time.
    monkeypatch.setattr(type(openvino_runtime.core()), "compile_model", None)
    np.testing.assert_array_equal(embeddings(load_encoder(name, device="cpu"))[1], expected[1])


def test_one_that_cannot_be_compiled_is_left_aside(
    converted: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    name = converted("custom")

    def cannot(*_: object) -> None:
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(conversions, "CompiledNetwork", cannot)
    encoder = load_encoder(name, device="cpu")
    assert np.isfinite(encoder.embed_texts(["a dog"])).all() and encoder.runtime == "pytorch"
    assert "no such instruction; the model" in caplog.text


def test_where_nothing_can_be_kept_pytorch_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "file"))
    assert load_encoder("starter", device="cpu", convert=True).runtime == "pytorch"


def test_what_would_embed_otherwise_is_not_kept(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = save_checkpoint(tmp_path / "checkpoint")
    monkeypatch.setattr(conversions, "_CLOSE", 1.1)
    assert load_encoder(name, device="cpu", convert=True).runtime == "pytorch"
    (refused,) = kept(cache)  # so that no run tries again
    assert refused.endswith(".refused")
    monkeypatch.setattr(conversions, "_CLOSE", 0.9)
    assert load_encoder(name, device="cpu", convert=True).runtime == "pytorch"


def test_maps_are_made_in_pytorch_of_the_same_weights_only(cache: Path, tmp_path: Path) -> None:
    name = save_checkpoint(tmp_path / "checkpoint", seed=0)
    load_encoder(name, device="cpu", convert=True)
    encoder, other = (load_encoder(name, device="cpu") for _ in range(2))
    assert encoder.runtime == "openvino"
    assert encoder.places(photos()[0]).vectors.shape[-1] == encoder.dim
    save_checkpoint(tmp_path / "checkpoint", seed=1)
    with pytest.raises(ModelError, match="replaced while it was in use"):
        other.places(photos()[0])


def test_the_runtime_can_be_chosen(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_RUNTIME", "pytorch")
    assert load_encoder("starter", device="cpu", convert=True).runtime == "pytorch"
    assert kept(cache) == []
    monkeypatch.setenv("SIGHTLINE_RUNTIME", "onnx")
    with pytest.raises(SettingsError, match="SIGHTLINE_RUNTIME cannot be “onnx”"):
        load_encoder("starter", device="cpu")


def test_weights_of_the_same_size_and_date_are_told_apart(cache: Path, tmp_path: Path) -> None:
    name = save_checkpoint(tmp_path / "checkpoint", seed=0)
    weights = tmp_path / "checkpoint" / "open_clip_model.safetensors"
    status = weights.stat()
    first = load_encoder(name, device="cpu", convert=True)
    save_checkpoint(tmp_path / "checkpoint", seed=1)
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.utime(tmp_path / "checkpoint" / "open_clip_config.json", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert load_encoder(name, device="cpu").fingerprint != first.fingerprint


def test_a_model_that_is_not_here_has_no_conversion() -> None:
    assert hub.files_of(resolve("balanced")) is None


def test_what_a_killed_run_has_left_goes(cache: Path, tmp_path: Path) -> None:
    for name, age in (("old", 2 * 86_400), ("new", 60)):
        (cache / f".making-{name}").mkdir(parents=True)
        os.utime(cache / f".making-{name}", (time.time() - age,) * 2)
    load_encoder(save_checkpoint(tmp_path / "checkpoint"), device="cpu", convert=True)
    assert [name for name in kept(cache) if name.startswith(".")] == [".making-new"]


def test_two_that_convert_at_once_do_not_disturb_each_other(cache: Path, tmp_path: Path) -> None:
    name = save_checkpoint(tmp_path / "checkpoint")
    one = load_encoder(name, device="cpu", precision="fp32", convert=True)
    (first,) = kept(cache)
    model = resolve(name)
    with quiet():
        network, tokenizer = _of_open_clip(model)
        assert conversions.make(model, network, tokenizer, facts_of(network, tokenizer))
    assert first in kept(cache)
    np.testing.assert_allclose(
        embeddings(one)[0], embeddings(load_encoder(name, device="cpu", precision="fp32"))[0], atol=1e-5
    )
    assert one.runtime == "openvino"


def test_a_run_goes_on_where_a_conversion_is_damaged(
    cache: Path, converted: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(5):
        picture(tmp_path / "photos" / f"{number}.jpg", number)
    name = converted("custom")
    flip_a_bit(cache / kept(cache)[0] / "tokenizer.json")
    report = run_index(Home(tmp_path / "home"), [tmp_path / "photos"], IndexOptions(model=name, captions="off"))
    assert (report.added, report.embedded, report.failed) == (5, 5, 0)


def test_photos_are_read_while_pytorch_is_imported_in_place_of_a_damaged_conversion(
    cache: Path, converted: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(200):
        picture(tmp_path / "photos" / f"{number}.jpg", number)
    name = converted("custom")
    flip_a_bit(cache / kept(cache)[0] / "images.bin")
    # In a process that has not imported it yet.
    command = [sys.executable, "-m", "sightline", "index", str(tmp_path / "photos"), "--home", str(tmp_path / "home")]
    options = ["--model", name, "--captions", "off", "--json"]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["embedded"] == 200


def test_a_model_that_does_not_fit_into_memory_is_one_sentence(
    converted: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = load_encoder(converted("starter"), device="cpu")

    def cannot(*_: object) -> None:
        raise RuntimeError("Failed to allocate 184320000 bytes of memory")

    monkeypatch.setattr(conversions, "CompiledNetwork", cannot)
    with pytest.raises(ModelError, match="does not fit into the memory of the device cpu"):
        list(embed(encoder, [], 1))


def test_many_texts_take_no_more_memory_than_a_few_at_a_time(
    converted: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = load_encoder(converted("starter"), device="cpu")
    asked: list[int] = []
    monkeypatch.setattr(
        encoder._towers, "embed_texts", lambda texts: (asked.append(len(texts)), np.zeros((len(texts), 384)))[1]
    )
    assert encoder.embed_texts(["a"] * 600).shape == (600, 384) and max(asked) == 256


@pytest.mark.parametrize(
    "said",
    [
        "Check 'ptr' failed at src/common/util/src/memory.cpp:27: Failed to allocate 184320000 bytes of memory",
        "std::bad_alloc",
    ],
)
def test_want_of_memory_is_told_from_other_errors(said: str) -> None:
    assert is_out_of_memory(RuntimeError(said)) and not is_out_of_memory(RuntimeError("another"))


def test_threads_are_as_many_as_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert openvino_runtime.threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert 1 <= openvino_runtime.threads() <= (os.cpu_count() or 1)
