"""Where weights lie: in a folder, in the Hugging Face cache, or behind a network that may not answer."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from search.errors import ModelError
from search.models.names import PRESETS, STARTER, ModelName, architecture_config, resolve

CONFIG_FILE = "open_clip_config.json"
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pth")
_DEFAULT_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
)
_SAMPLES, _SAMPLE_BYTES = 16, 65_536
_TRUE = {"1", "ON", "YES", "TRUE"}


def is_cached(model: ModelName) -> bool:
    """Whether all that `model` needs (weights, configuration, tokenizer) is on this machine. Uses no network.

    Raises:
        ModelError: open_clip knows no such weights.
    """
    if model.folder is not None:
        return (model.folder / CONFIG_FILE).is_file() and bool(weight_files(model.folder))
    return all(any(_cached(repo, name) for name in names) for repo, names in _needed(model))


def files_of(model: ModelName) -> list[str] | None:
    """What identifies the files of `model` on this machine: of a folder their names, sizes, dates and samples of the
    weights, of the Hugging Face cache the names that it gives them by their contents or commits; None where some are
    not here. Uses no network.

    Raises:
        ModelError: open_clip knows no such weights.
    """
    found = [model.open_clip_name, str(model.pretrained)]
    try:
        if model.folder is not None:
            weights = weight_files(model.folder)
            texts = [file for file in sorted(model.folder.glob("*")) if file.suffix in (".json", ".txt", ".model")]
            for file in (*weights, *texts):
                state = file.stat()
                found.append(f"{file.name}:{state.st_size}:{state.st_mtime_ns}:{_sample(file, state.st_size)}")
    except OSError:
        return None
    for repo, names in _needed(model) if model.folder is None else _needed_for_texts(model):
        here = next((path for name in names if (path := _cached(repo, name)) is not None), None)
        if here is None:
            return None
        found.append(f"{here.name}:{os.path.realpath(here)}")
    return found


def hub_answers(timeout: float = 3.0) -> bool:
    """Whether the Hugging Face hub answers within `timeout` seconds.

    Honours `HF_HUB_OFFLINE` and `HF_ENDPOINT`. Never takes longer than `timeout`, whatever the network does.
    """
    if any(os.environ.get(name, "").upper() in _TRUE for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")):
        return False
    answers: list[bool] = []
    # In a thread of its own, since looking up a host's name heeds no time limit; a daemon, so that a lookup
    # that hangs does not keep the process from ending.
    probe = threading.Thread(target=_probe, args=(answers, timeout), daemon=True, name="hub-probe")
    probe.start()
    probe.join(timeout)
    return bool(answers and answers[0])


def choose_auto(*, download: bool) -> tuple[ModelName, str]:
    """The model that `auto` means here and now, and a sentence that says which and why.

    With `download` the hub is asked whether it answers, for 3 s at most; without, only what is here counts.
    """
    balanced = resolve("balanced")
    if is_cached(balanced):
        return balanced, "Using the model balanced: it is on this machine."
    if download and hub_answers():
        return balanced, "Using the model balanced: the Hugging Face hub answers, so it can be downloaded."
    why = "balanced is not on this machine" + (" and the Hugging Face hub does not answer" if download else "")
    return resolve(STARTER), (
        f"Using the built-in model (starter): {why}. `sightline index --model balanced` downloads it where there is a "
        "network."
    )


def ways_out(model: ModelName) -> str:
    """The end of an error about weights that are not here: what the user can do."""
    return (
        f"With a network, `sightline index --model {model.name}` downloads it; without one, use the built-in "
        "model (`sightline index --model starter`) or a checkpoint on this machine "
        "(`sightline index --model local-dir:FOLDER`)."
    )


def weight_files(folder: Path) -> list[Path]:
    """The files in `folder` that open_clip would take for weights."""
    return [path for path in sorted(folder.glob("*")) if path.suffix in WEIGHT_SUFFIXES and path.is_file()]


@contextmanager
def offline() -> Iterator[None]:
    """Within this block huggingface_hub opens no connection: it reads its cache, or fails at once.

    The switch belongs to the process, since huggingface_hub reads `HF_HUB_OFFLINE` only when it is imported.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _probe(answers: list[bool], timeout: float) -> None:
    import httpx

    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    try:
        # A file's address, not the front page: it is what a download asks for, and mirrors serve nothing
        # else.
        url = f"{endpoint}/{PRESETS['balanced'].hub_repo}/resolve/main/{CONFIG_FILE}"
        status = httpx.head(url, timeout=timeout).status_code
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError):
        answers.append(False)
        return
    # 401 and 404 come from a hub (or a mirror) that lacks this one file; 403, 407 and 5xx come from what
    # stands before it.
    answers.append(status < 400 or status in (401, 404))


def _needed(model: ModelName) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(repository, names of which one must be there), for each thing that must lie in the cache."""
    if model.hub_repo is not None:
        yield model.hub_repo, (CONFIG_FILE,)
        yield model.hub_repo, _DEFAULT_WEIGHTS
    else:
        yield _tagged_weights(model)
    yield from _needed_for_texts(model)


def _needed_for_texts(model: ModelName) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The same for what only the text tower needs."""
    text = _config(model).get("text_cfg", {})
    if "hf_tokenizer_name" in text:
        yield text["hf_tokenizer_name"], _TOKENIZER_FILES
    if "hf_model_name" in text:
        yield text["hf_model_name"], ("config.json",)


def _tagged_weights(model: ModelName) -> tuple[str, tuple[str, ...]]:
    preset = PRESETS.get(model.name)
    if preset is not None and preset.hub_repo is not None:
        return preset.hub_repo, _DEFAULT_WEIGHTS
    from open_clip import get_pretrained_cfg, list_pretrained_tags_by_model

    config = get_pretrained_cfg(model.open_clip_name, model.pretrained or "")
    if not config:
        tags = ", ".join(list_pretrained_tags_by_model(model.open_clip_name)) or "none"
        raise ModelError(
            f"open_clip has no weights “{model.pretrained}” for {model.open_clip_name} (it has: {tags}); "
            f"`--model starter` needs no download."
        )
    repo, _, filename = str(config.get("hf_hub", "")).rpartition("/")
    if not repo:
        raise ModelError(f"The weights of {model.name} are not on the Hugging Face hub: use `--model fast`.")
    if not filename:
        return repo, _DEFAULT_WEIGHTS
    # open_clip asks for the safetensors twin of a pickled file first.
    return repo, (filename, str(Path(filename).with_suffix(".safetensors")))


def _config(model: ModelName) -> dict[str, Any]:
    """The model's configuration, as far as this machine has it."""
    if model.folder is None and model.hub_repo is None:
        return architecture_config(model.open_clip_name)
    path = model.folder / CONFIG_FILE if model.folder is not None else _cached(model.hub_repo or "", CONFIG_FILE)
    try:
        config = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError):
        return {}
    model_config = config.get("model_cfg", {}) if isinstance(config, dict) else {}
    return model_config if isinstance(model_config, dict) else {}


def _sample(file: Path, size: int) -> str:
    """A hash of some blocks of a file: where dates are set by hand, other weights may have the same."""
    digest = hashlib.blake2b(digest_size=8)
    with file.open("rb") as stream:
        for block in range(_SAMPLES):
            stream.seek(max(0, size - _SAMPLE_BYTES) * block // (_SAMPLES - 1))
            digest.update(stream.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def _cached(repo: str, filename: str) -> Path | None:
    from huggingface_hub import constants

    # Where a file lies in nearly every case, as the hub's documentation has it: what looks for it anywhere else takes a
    # fifth of a search to import.
    with suppress(OSError, ValueError):
        kept = Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"
        here = kept / "snapshots" / (kept / "refs" / "main").read_text(encoding="utf-8") / filename
        if here.is_file():
            return here
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(repo, filename)
    except HFValidationError as error:
        raise ModelError(f"“{repo}” cannot be the name of a repository on the Hugging Face hub.") from error
    return Path(found) if isinstance(found, str) else None
