"""CoCa writes captions through open_clip's own loader, and is never taken for a model that embeds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from captioner_checkpoints import save_coca
from support import TINY, photos, save_checkpoint

from indexer.describe.choice import load_captioner
from indexer.describe.coca import CocaCaptioner, resolve_coca
from search.errors import ModelError
from search.models.encoder import load_encoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_coca(tmp_path_factory.mktemp("coca"))


@pytest.fixture(scope="module")
def captioner(folder: Path) -> CocaCaptioner:
    loaded = load_captioner(f"coca:local-dir:{folder}", device="cpu", precision="fp32")
    assert isinstance(loaded, CocaCaptioner)
    return loaded


def test_a_batch_gets_one_caption_each_and_the_same_again(captioner: CocaCaptioner, folder: Path) -> None:
    images = photos()[:3]
    captions = captioner.caption(images)
    assert captioner.name == f"coca:local-dir:{folder}"
    assert len(captions) == 3 and all(one.text and one.confidence is not None for one in captions)
    assert captioner.caption(images) == captions
    alone = captioner.caption(images[1:2])[0]
    assert alone.text == captions[1].text and alone.confidence == pytest.approx(captions[1].confidence, abs=1e-4)
    assert captioner.caption([]) == []


def test_one_beam_takes_the_likeliest_token_each_time(captioner: CocaCaptioner) -> None:
    """What open_clip's `generate` does with `top_k=1`, written out."""
    network = captioner._network
    pixels = torch.stack([captioner._transform(image) for image in photos()[:2]])
    words, confidence = captioner._write(pixels, beams=1)[0]
    row, steps = torch.tensor([[49406]]), []
    with torch.inference_mode():
        while row.shape[1] <= len(words):
            logits = network(pixels[:1], row, output_labels=False)["logits"][0, -1]
            logits[[0, 49406]] = float("-inf")
            if row.shape[1] == 1:
                logits[49407] = float("-inf")
            steps.append(float(logits.log_softmax(-1).max()))
            row = torch.cat([row, logits.argmax().view(1, 1)], dim=1)
    assert row[0, 1:].tolist() == words
    assert confidence == pytest.approx(sum(steps) / len(steps), abs=1e-4)


def test_half_precision_writes_too(folder: Path) -> None:
    captioner = load_captioner(f"coca:local-dir:{folder}", device="cpu", precision="bf16")
    assert len(captioner.caption(photos()[:2])) == 2


def test_it_never_embeds(folder: Path) -> None:
    with pytest.raises(ModelError, match="choose it with --captions"):
        load_encoder(f"local-dir:{folder}", device="cpu")


def test_a_model_that_only_embeds_is_no_captioner(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is no CoCa"):
        load_captioner(f"coca:{save_checkpoint(tmp_path, TINY)}", device="cpu")


def test_a_folder_that_is_not_whole(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ModelError, match=r"has no open_clip_config\.json with its weights"):
        load_captioner(f"coca:local-dir:{tmp_path}", device="cpu")
    save_coca(tmp_path)
    weights = tmp_path / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_captioner(f"coca:local-dir:{tmp_path}", device="cpu")


def test_the_default_is_a_checkpoint_that_open_clip_knows() -> None:
    import open_clip

    model = resolve_coca("")
    assert open_clip.get_pretrained_cfg(model.open_clip_name, model.pretrained)
    assert resolve_coca("coca_ViT-B-32/laion2b_s13b_b90k").name == "coca:coca_ViT-B-32/laion2b_s13b_b90k"
    assert resolve_coca("hf-hub:someone/coca").name == "coca:hf-hub:someone/coca"
    for wrong in ("ViT-B-32/openai", "coca_ViT-B-32", "nothing", "local-dir:"):
        with pytest.raises(ModelError, match="There is no CoCa"):
            resolve_coca(wrong)
