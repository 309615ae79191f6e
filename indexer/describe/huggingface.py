"""Captioners that transformers runs: BLIP (Li et al. 2022), BLIP-2 (Li et al. 2023) and ViT-GPT2."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from indexer.describe.captioner import Caption
from indexer.describe.downloads import check_download
from indexer.describe.wording import tidy
from search.errors import ModelError
from search.models import hub
from search.models.device import choose_device, choose_precision

_PROCESSORS = ("preprocessor_config.json", "processor_config.json")
_TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model")
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # whole, or in parts that a file NAME.index.json lists


class Family(NamedTuple):
    """What a checkpoint of a family says it is, and the one to take where none is named."""

    model_type: str
    repo: str


FAMILIES = {
    "blip": Family("blip", "Salesforce/blip-image-captioning-base"),
    "blip2": Family("blip-2", "Salesforce/blip2-opt-2.7b"),
    "vit-gpt2": Family("vision-encoder-decoder", "nlpconnect/vit-gpt2-image-captioning"),
}


class HuggingFaceCaptioner:
    """Writes captions as `indexer.describe.captioner.Captioner` says. Make one with `load_huggingface`."""

    def __init__(self, name: str, network: Any, processor: Any, tokenizer: Any, device: str) -> None:
        """`network` generates from what `processor` makes of pictures; `tokenizer` reads what it wrote."""
        self.name = name
        self.batch_size = 16 if device == "cuda" else 4
        # By its height and width, or by the shortest edge.
        self.side = max(int(value) for value in dict(processor.size).values() if value)
        self._network, self._processor, self._tokenizer = network.eval().to(device), processor, tokenizer

    def caption(self, images: list[Image.Image]) -> list[Caption]:
        """One caption for each photo (RGB), in their order, by beam search."""
        import torch

        if not images:
            return []
        pixels = self._processor(images, return_tensors="pt").pixel_values
        with torch.inference_mode():
            found = self._network.generate(
                pixel_values=pixels.to(self._network.device, self._network.dtype),
                num_beams=3,
                do_sample=False,
                max_new_tokens=30,
                # With it the score of a sequence is the mean log probability of its tokens.
                length_penalty=1.0,
                output_scores=True,
                return_dict_in_generate=True,
            )
        texts = self._tokenizer.batch_decode(found.sequences, skip_special_tokens=True)
        scores = found.sequences_scores.float().tolist()
        return [Caption(tidy(text), score) for text, score in zip(texts, scores, strict=True)]


def resolve_huggingface(family: str, choice: str) -> str:
    """The repository that `choice` names, as ORG/REPO, or an absolute folder; without one, the family's own.

    A folder that is there comes before a repository of the same name, as in transformers.
    """
    if not choice:
        return FAMILIES[family].repo
    place = Path(os.path.expanduser(choice))
    is_repo = choice.count("/") == 1 and not choice.startswith((".", "/", "~")) and not place.is_dir()
    return choice if is_repo else str(place.absolute())


def load_huggingface(
    family: str, choice: str, *, device: str, precision: str, allow_download: bool
) -> HuggingFaceCaptioner:
    """Load a checkpoint of one of `FAMILIES`, as `resolve_huggingface` names it, on `device` in `precision`
    (as in `search.models.device`).

    Raises:
        ModelError: there is no such checkpoint here, and none can be downloaded; or it is of another family.
        Exception: whatever transformers makes of damaged files.
    """
    place = resolve_huggingface(family, choice)
    name = f"{family}:{place}"
    folder = Path(place) if Path(place).is_absolute() else _cached(place)
    if folder is None or (lacks := _lacks(folder)):
        if folder is not None and Path(place).is_absolute():
            raise ModelError(
                f"The folder {folder} has no {lacks}: {family} needs a checkpoint in transformers' layout."
            )
        check_download(name, allow_download)
        folder = _download(place)
        if lacks := _lacks(folder):
            raise ModelError(
                f"The repository {place} has no {lacks}: it holds no captioner that transformers can load."
            )
    kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    if kind != FAMILIES[family].model_type:
        raise ModelError(f"The checkpoint {place} is no {family}: it calls itself {kind}.")

    device = choose_device(device)
    precision = choose_precision(precision, device)
    import torch
    import transformers

    # Once for the process: the catalog and Sightline's own progress are the report that counts.
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    # From a folder, with the network off: transformers would otherwise ask the hub to convert pickled weights.
    with hub.offline():
        network = transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype, local_files_only=True)
        # Not AutoProcessor: checkpoints of ViT-GPT2 have none, and no captioner here is given words to begin with.
        processor = transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return HuggingFaceCaptioner(name, network, processor, tokenizer, device)


def _cached(repo: str) -> Path | None:
    """The folder of the repository in the hub's cache, perhaps not whole; None where there is none."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        # Not snapshot_download, to which a folder is not whole while formats are missing that nobody needs.
        found = try_to_load_from_cache(repo, "config.json")
    except HFValidationError as error:
        raise ModelError(f"“{repo}” cannot be the name of a repository on the Hugging Face hub.") from error
    return Path(found).parent if isinstance(found, str) else None


def _download(repo: str) -> Path:
    """Fetch what is needed of the repository into the hub's cache, from where an earlier try ended."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        files = [file.rfilename for file in HfApi().model_info(repo, timeout=10).siblings or []]
        names = [file for file in files if "/" not in file]
        # Many repositories hold the weights in several formats and for several frameworks.
        weights = next((kind for kind in (".safetensors", ".bin") if any(name.endswith(kind) for name in names)), "")
        kinds = tuple(filter(None, (".json", ".txt", ".model", weights)))
        return Path(snapshot_download(repo, allow_patterns=[name for name in names if name.endswith(kinds)]))
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"There is no repository {repo} on the Hugging Face hub, or it is not open to you: look at its name, or "
            "log in with `hf auth login`."
        ) from error
    except Exception as error:  # which HTTP client huggingface_hub uses differs between its versions
        raise ModelError(
            f"The download of {repo} broke off ({type(error).__name__}): run the command again, it goes on from there."
        ) from error


def _lacks(folder: Path) -> str | None:
    """What a checkpoint in transformers' layout needs and `folder` does not have, or None."""
    for names in (("config.json",), _PROCESSORS, _TOKENIZERS):
        if not any((folder / name).is_file() for name in names):
            return names[0]
    for name in _WEIGHTS:
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            return None
        if index.is_file():
            parts = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
            return next((part for part in sorted(set(parts)) if not (folder / part).is_file()), None)
    return _WEIGHTS[0]
