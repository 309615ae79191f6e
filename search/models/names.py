"""Model names: what a user may write after `--model`, and what open_clip calls it."""

from __future__ import annotations

import importlib.util
import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from search.errors import ModelError
from search.resources import data_path

STARTER = "starter"
AUTO = "auto"
HUB_PREFIX = "hf-hub:"
FOLDER_PREFIX = "local-dir:"


@dataclass(frozen=True)
class Preset:
    """A short name for a model that is worth using.

    `hub_repo` repeats what open_clip knows of the weights' place, so that asking whether a preset is on this
    machine does not cost the seconds that importing open_clip takes (a test compares the two).

    Attributes:
        photo_cost, text_cost: processor time for one on a CPU in fp32 and in bf16, beside that of a photo with
            `starter` in the same (benchmarks/RESULTS.md).
        download_bytes: of its weights and its tokenizer, to three digits (benchmarks/RESULTS.md).
    """

    name: str
    open_clip_name: str
    purpose: str
    photo_cost: tuple[float, float]
    text_cost: tuple[float, float]
    download_bytes: int = 0
    hub_repo: str | None = None


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            STARTER,
            f"{FOLDER_PREFIX}data/models/starter",
            "built in: works at once, downloads nothing",
            photo_cost=(1, 1),
            text_cost=(0.42, 0.48),
        ),
        Preset(
            "fast",
            "ViT-B-32-256/datacomp_s34b_b86k",
            "CPUs and large libraries",
            photo_cost=(30, 31),
            text_cost=(20, 17),
            download_bytes=605_000_000,
            hub_repo="laion/CLIP-ViT-B-32-256x256-DataComp-s34B-b86K",
        ),
        Preset(
            "balanced",
            "ViT-B-16-SigLIP2-256/webli",
            "the default where models can be downloaded; many languages",
            photo_cost=(130, 120),
            text_cost=(31, 27),
            download_bytes=1_540_000_000,
            hub_repo="timm/ViT-B-16-SigLIP2-256",
        ),
        Preset(
            "best",
            "PE-Core-L-14-336/meta",
            "a GPU",
            photo_cost=(1200, 1200),
            text_cost=(66, 54),
            download_bytes=2_680_000_000,
            hub_repo="timm/PE-Core-L-14-336",
        ),
    )
}


@dataclass(frozen=True)
class ModelName:
    """A model, named twice.

    `name` is the canonical form of what the user said and what an index records: a preset's name where there
    is one, an absolute path after `local-dir:`. `open_clip_name` and `pretrained` are open_clip's arguments.
    """

    name: str
    open_clip_name: str
    pretrained: str | None = None

    @property
    def folder(self) -> Path | None:
        """The folder of a `local-dir:` model, else None."""
        if not self.open_clip_name.startswith(FOLDER_PREFIX):
            return None
        return Path(self.open_clip_name.removeprefix(FOLDER_PREFIX))

    @property
    def hub_repo(self) -> str | None:
        """The repository of an `hf-hub:` model, else None (a tag's repository is known to open_clip)."""
        if not self.open_clip_name.startswith(HUB_PREFIX):
            return None
        return self.open_clip_name.removeprefix(HUB_PREFIX)


def resolve(name: str) -> ModelName:
    """The model that `name` means. Reads no weights, imports neither torch nor open_clip, uses no network.

    >>> resolve("fast").pretrained
    'datacomp_s34b_b86k'

    Raises:
        ModelError: no model can have this name.
    """
    name = name.strip()
    if name == STARTER:
        return ModelName(STARTER, f"{FOLDER_PREFIX}{data_path('models/starter')}")
    if name in PRESETS:
        architecture, _, pretrained = PRESETS[name].open_clip_name.partition("/")
        return ModelName(name, architecture, pretrained)
    if name.startswith(FOLDER_PREFIX) and (folder := name.removeprefix(FOLDER_PREFIX).strip()):
        # Absolute, since an index outlives the directory that it was made from.
        canonical = f"{FOLDER_PREFIX}{os.path.abspath(os.path.expanduser(folder))}"
        return ModelName(canonical, canonical)
    if name.startswith(HUB_PREFIX) and name.removeprefix(HUB_PREFIX).count("/") == 1:
        return ModelName(name, name)
    architecture, _, pretrained = name.partition("/")
    if pretrained and architecture in _architectures():
        if "multimodal_cfg" in architecture_config(architecture):
            raise ModelError(f"{name} is a captioning model (CoCa): choose it with --captions, not with --model.")
        for preset in PRESETS.values():
            if preset.open_clip_name == name:
                return resolve(preset.name)
        return ModelName(name, architecture, pretrained)
    presets = ", ".join(PRESETS)
    hint = ""
    if name in _architectures():
        hint = f" {name} is an architecture: name its weights too, as in {name}/PRETRAINED."
    raise ModelError(
        f"There is no model “{name}”.{hint} Use {AUTO}, a preset ({presets}), open_clip's ARCH/PRETRAINED "
        f"(as in ViT-B-32-256/datacomp_s34b_b86k), {HUB_PREFIX}ORG/REPO or {FOLDER_PREFIX}FOLDER."
    )


def architecture_config(architecture: str) -> dict[str, Any]:
    """open_clip's configuration of an architecture that it knows, read without importing open_clip."""
    config: dict[str, Any] = json.loads(_architectures()[architecture].read_text(encoding="utf-8"))
    return config


@cache
def _architectures() -> dict[str, Path]:
    # find_spec of a top-level package looks it up without running it: importing open_clip takes seconds.
    spec = importlib.util.find_spec("open_clip")
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            "The package open_clip_torch is missing: install Sightline again with `pip install sightline`."
        )
    folder = Path(next(iter(spec.submodule_search_locations))) / "model_configs"
    return {path.stem: path for path in folder.glob("*.json")}
