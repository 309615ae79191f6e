"""Models that are converted for processors embed as before, start without PyTorch, and tell nobody."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import open_clip
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import photos, save_checkpoint

from search.errors import ModelError, SettingsError
from search.home import cache_dir
from search.models import conversions, openvino_runtime, tokens
from search.models.encoder import Encoder, load_encoder
from search.models.names import resolve

TEXTS = ["a dog runs on the beach", "Two children, playing football!", "", "été ☀", "word " * 200]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


def kept(cache: Path) -> list[str]:
    return sorted(os.listdir(cache)) if cache.is_dir() else []


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


def test_once_converted_nothing_is_imported_of_pytorch_and_nobody_is_told(cache: Path) -> None:
    load_encoder("starter", device="cpu", convert=True)
    program = """
import socket, sys
def refuse(*given): raise AssertionError("a connection is opened")
socket.socket.connect = refuse
from search.models.encoder import load_encoder
encoder = load_encoder("starter")
encoder.embed_texts(["a dog"])
encoder.embed_images(__import__("numpy").zeros((3, 160, 160, 3), "uint8"))
assert encoder.runtime == "openvino"
heavy = {"torch", "open_clip", "transformers", "timm"} & set(sys.modules)
assert not heavy, heavy
# OpenVINO's own package of that name reports imports and conversions to its makers.
assert sys.modules["openvino_telemetry"] is None
"""
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONWARNINGS": "error"})


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


@pytest.mark.parametrize("file", ["images.bin", "texts.bin", "texts.xml", "facts", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["cut", "gone", "flipped"])
def test_a_damaged_one_is_never_used_and_made_anew(cache: Path, tmp_path: Path, file: str, damage: str) -> None:
    name = save_checkpoint(tmp_path / "checkpoint")
    expected = embeddings(load_encoder(name, device="cpu", precision="fp32", convert=True))
    path = cache / kept(cache)[0] / file
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 0x40
    path.unlink()
    if damage != "gone":
        path.write_bytes(content[:-10] if damage == "cut" else content)
    encoder = load_encoder(name, device="cpu", precision="fp32")
    for found, wanted in zip(embeddings(encoder), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-3)
    assert encoder.runtime == "pytorch"
    assert load_encoder(name, device="cpu", precision="fp32", convert=True).runtime == "openvino"


def test_one_that_cannot_be_compiled_is_left_aside(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    name = save_checkpoint(tmp_path / "checkpoint")
    load_encoder(name, device="cpu", convert=True)

    def cannot(*_: object) -> None:
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(conversions, "CompiledNetwork", cannot)
    encoder = load_encoder(name, device="cpu")
    assert encoder.runtime == "pytorch" and np.isfinite(encoder.embed_texts(["a dog"])).all()
    assert "no such instruction; the model" in caplog.text


def test_where_nothing_can_be_kept_pytorch_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "file"))
    assert load_encoder("starter", device="cpu", convert=True).runtime == "pytorch"


def test_what_would_embed_otherwise_is_not_kept(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = save_checkpoint(tmp_path / "checkpoint")
    monkeypatch.setattr(conversions, "_CLOSE", 1.1)
    assert load_encoder(name, device="cpu", convert=True).runtime == "pytorch"
    assert kept(cache) == []


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


def test_files_in_the_hubs_cache_are_told_by_their_contents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert conversions.files_of(resolve("balanced")) is None  # nothing of it is here
    assert str(cache_dir()) not in json.dumps(conversions.files_of(resolve("starter")))


@pytest.fixture(scope="module")
def clip_tokens(tmp_path_factory: pytest.TempPathFactory) -> tuple[tokens.Tokenizer, open_clip.SimpleTokenizer]:
    folder = tmp_path_factory.mktemp("tokens")
    original = open_clip.SimpleTokenizer(context_length=24)
    tokens.save(original, 24, folder)
    return tokens.Tokenizer(folder), original


@settings(max_examples=300, deadline=None)
@given(
    text=st.text(st.characters(max_codepoint=0x2FFF, exclude_categories=["Cn", "Cs", "Co"]), max_size=40)
    | st.sampled_from(
        ["It's  the DOG's", "<start_of_text> x <end_of_text>", "<START_OF_TEXT>", "&amp;lt; x", "l’été", "北京 🎉🎉"]
    )
)
def test_clips_tokens_are_the_same(clip_tokens: tuple[tokens.Tokenizer, open_clip.SimpleTokenizer], text: str) -> None:
    ours, theirs = clip_tokens
    np.testing.assert_array_equal(ours([text]), theirs([text]).numpy())


@pytest.mark.parametrize("clean", ["whitespace", "lower", "canonicalize"])
@pytest.mark.parametrize("strip", [False, True])
@pytest.mark.parametrize("side", ["left", "right"])
def test_tokens_of_other_tokenizers_are_the_same(tmp_path: Path, clean: str, strip: bool, side: str) -> None:
    from open_clip.tokenizer import HFTokenizer
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.train_from_iterator(
        ["a dog_runs, Fast on the Beach!"] * 9,
        trainers.WordPieceTrainer(special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"], show_progress=False),
    )
    inner.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        padding_side=side,
    ).save_pretrained(tmp_path / "tokenizer")
    theirs = HFTokenizer(str(tmp_path / "tokenizer"), context_length=12, clean=clean, strip_sep_token=strip)
    (tmp_path / "kept").mkdir()
    tokens.save(theirs, 12, tmp_path / "kept")
    ours = tokens.Tokenizer(tmp_path / "kept")
    texts = ["A dog_runs,  fast!", "", "on the beach " * 20, "&amp; the_Beach"]
    np.testing.assert_array_equal(ours(texts), theirs(texts).numpy())


def test_a_tokenizer_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="of another kind"):
        tokens.save(open_clip.SimpleTokenizer(reduction_mask="random"), 77, tmp_path)


def test_threads_are_as_many_as_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert openvino_runtime.threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert 1 <= openvino_runtime.threads() <= (os.cpu_count() or 1)
