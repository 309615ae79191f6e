"""Captioners are chosen by name; one that is not here says so in one sentence, soon."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support import photos

from indexer.describe.choice import NAMES, canonical_name, load_captioner
from indexer.describe.decoder import SPECIAL, CaptionDecoder, DecoderShape
from indexer.describe.starter import CONFIG_FILE, WEIGHTS_FILE, StarterCaptioner, load_starter_captioner, starter_name
from search.errors import ModelError
from search.models.encoder import load_encoder
from search.models.names import STARTER, resolve


@pytest.fixture
def nothing_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # where nothing answers


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("coca", "coca:coca_ViT-L-14/mscoco_finetuned_laion2b_s13b_b90k"),
        ("coca:local-dir:here", f"coca:local-dir:{Path('here').absolute()}"),
        ("blip", "blip:Salesforce/blip-image-captioning-base"),
        ("blip:Salesforce/blip-image-captioning-large", "blip:Salesforce/blip-image-captioning-large"),
        ("blip2", "blip2:Salesforce/blip2-opt-2.7b"),
        ("vit-gpt2", "vit-gpt2:nlpconnect/vit-gpt2-image-captioning"),
        ("blip:./here", f"blip:{Path('here').absolute()}"),
        (" openai:gpt-4o-mini ", "openai:gpt-4o-mini"),
        ("openai:llava:7b", "openai:llava:7b"),
    ],
)
def test_a_name_has_one_form_that_is_stored(name: str, canonical: str) -> None:
    assert canonical_name(name) == canonical
    assert canonical_name(canonical) == canonical


def test_the_built_in_captioner_is_stored_with_its_weights(tmp_path: Path) -> None:
    name = canonical_name("starter")
    assert re.fullmatch("starter:[0-9a-f]{8}", name) and name == load_captioner("starter").name
    (tmp_path / WEIGHTS_FILE).write_bytes(b"later weights")
    assert starter_name(tmp_path) != name


@pytest.mark.parametrize("name", ["", "off", "starters", "openai", "openai:", "starter:other", "git", "Blip"])
def test_an_unknown_name_lists_the_known_ones(name: str) -> None:
    with pytest.raises(ModelError, match="There is no captioner") as caught:
        load_captioner(name)
    assert all(known in str(caught.value) for known in NAMES)
    with pytest.raises(ModelError, match="There is no captioner"):
        canonical_name(name)


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize("name", ["coca", "blip", "blip2", "vit-gpt2", "blip:someone/tiny", "coca:hf-hub:someone/coca"])
@pytest.mark.usefixtures("nothing_cached")
def test_weights_that_are_not_here_and_no_hub(name: str, allowed: bool) -> None:
    start = time.monotonic()
    with pytest.raises(ModelError) as caught:
        load_captioner(name, allow_download=allowed)
    message = str(caught.value)
    assert time.monotonic() - start < 10
    assert "\n" not in message and len(message) < 500
    assert ("does not answer" in message) == allowed
    for way_out in (f"--captions {canonical_name(name)}", "--captions starter", "FOLDER"):
        assert way_out in message


@pytest.mark.usefixtures("nothing_cached")
def test_a_name_that_no_repository_has() -> None:
    with pytest.raises(ModelError, match="cannot be the name of a repository"):
        load_captioner("blip:some one/tiny--", allow_download=True)


@pytest.mark.parametrize(("device", "precision"), [("tpu", "auto"), ("cpu", "int8")])
def test_devices_and_precisions_that_do_not_exist(device: str, precision: str, tmp_path: Path) -> None:
    from captioner_checkpoints import save_coca

    with pytest.raises(ModelError, match="use one of"):
        load_captioner(f"coca:local-dir:{save_coca(tmp_path)}", device=device, precision=precision)


def test_the_built_in_captioner_writes() -> None:
    folder = resolve(STARTER).folder
    assert folder is not None
    if not (folder / CONFIG_FILE).exists():
        pytest.skip("this checkout ships no captioner yet")
    captioner = load_captioner("starter", device="cpu")
    assert isinstance(captioner, StarterCaptioner)
    captions = captioner.caption(photos()[:3])
    assert len(captions) == 3 and all(one.text for one in captions)


def test_a_captioner_of_the_built_in_kind_writes(tmp_path: Path) -> None:
    """A decoder with random weights for the built-in model's image tower."""
    tower = resolve(STARTER).folder
    assert tower is not None
    for path in tower.glob("open_clip_*"):
        (tmp_path / path.name).symlink_to(path)
    encoder = load_encoder(f"local-dir:{tmp_path}", device="cpu")
    places, embeddings = encoder.feature_maps(np.zeros((1, *encoder.image_size, 3), dtype=np.uint8))
    vocabulary = list(range(320, 340))  # any tokens of CLIP
    shape = DecoderShape(
        words=SPECIAL + len(vocabulary),
        places=places.shape[1] * places.shape[2],
        features=places.shape[3],
        embedding=embeddings.shape[1],
        width=32,
        layers=1,
        heads=2,
    )
    torch.manual_seed(0)
    save_file(CaptionDecoder(shape).state_dict(), tmp_path / WEIGHTS_FILE)
    (tmp_path / CONFIG_FILE).write_text(json.dumps({**shape.as_dict(), "vocabulary": vocabulary}))
    captioner = load_starter_captioner(folder=tmp_path, device="cpu")
    captions = captioner.caption(photos()[:3])
    assert len(captions) == 3 and all(one.text and one.confidence is not None for one in captions)
    assert captioner.caption(photos()[:3]) == captions
    assert captioner.caption([]) == []
