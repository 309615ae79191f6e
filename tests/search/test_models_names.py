"""What a user may write after `--model`."""

from __future__ import annotations

import os
from pathlib import Path

import open_clip
import pytest

from search.errors import ModelError
from search.models.names import PRESETS, resolve


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "starter"])
def test_presets_are_models_that_open_clip_knows(name: str) -> None:
    preset = PRESETS[name]
    model = resolve(name)
    assert model.name == name
    assert (model.open_clip_name, model.pretrained) in open_clip.list_pretrained()
    config = open_clip.get_pretrained_cfg(model.open_clip_name, model.pretrained)
    assert config["hf_hub"] == f"{preset.hub_repo}/"  # the copy that spares an import is true


def test_starter_is_a_folder_that_ships_with_sightline() -> None:
    model = resolve("starter")
    assert model.name == "starter"
    assert model.folder is not None and (model.folder / "open_clip_config.json").is_file()


def test_architecture_and_weights() -> None:
    model = resolve(" ViT-B-32/laion2b_s34b_b79k ")
    assert (model.name, model.open_clip_name) == ("ViT-B-32/laion2b_s34b_b79k", "ViT-B-32")
    assert model.pretrained == "laion2b_s34b_b79k"


def test_a_presets_long_name_is_the_preset() -> None:
    assert resolve("ViT-B-32-256/datacomp_s34b_b86k") == resolve("fast")


def test_hub_repository() -> None:
    assert resolve("hf-hub:timm/ViT-B-16-SigLIP2-256").hub_repo == "timm/ViT-B-16-SigLIP2-256"


def test_a_folder_is_recorded_by_its_absolute_path() -> None:
    assert resolve("local-dir:some/model").name == f"local-dir:{Path(os.getcwd()) / 'some/model'}"
    assert resolve("local-dir:~/model").folder == Path.home() / "model"


@pytest.mark.parametrize("name", ["", "nonsense", "ViT-Z-99/openai", "hf-hub:", "hf-hub:one", "local-dir:", "auto"])
def test_any_other_name_is_an_error_that_names_the_presets(name: str) -> None:
    with pytest.raises(ModelError) as caught:
        resolve(name)
    assert all(preset in str(caught.value) for preset in PRESETS)


def test_an_architecture_without_weights_is_an_error() -> None:
    with pytest.raises(ModelError, match="name its weights too"):
        resolve("ViT-B-32")


def test_captioning_models_do_not_embed() -> None:
    with pytest.raises(ModelError, match="--captions"):
        resolve("coca_ViT-B-32/laion2b_s13b_b90k")
