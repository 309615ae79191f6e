"""Captioner names: what a user may write after `--captions`, and the captioner that it means."""

from __future__ import annotations

from indexer.describe.captioner import Captioner, first_line
from indexer.describe.huggingface import FAMILIES, load_huggingface, resolve_huggingface
from search.errors import ModelError, SightlineError
from search.models.device import is_out_of_memory
from search.models.names import STARTER

COCA, OPENAI = "coca", "openai"
NAMES = (STARTER, COCA, *FAMILIES, f"{OPENAI}:MODEL")


def canonical_name(name: str) -> str:
    """What is stored with captions for `name`, without loading anything: `Captioner.name` of what it loads.

    >>> canonical_name("blip")
    'blip:Salesforce/blip-image-captioning-base'

    Raises:
        ModelError: no captioner can have this name.
    """
    kind, choice = _parts(name)
    if kind == COCA:
        from indexer.describe.coca import resolve_coca

        return resolve_coca(choice).name
    if kind in FAMILIES:
        return f"{kind}:{resolve_huggingface(kind, choice)}"
    if kind == STARTER:
        from indexer.describe.starter import starter_name

        return starter_name()
    return f"{kind}:{choice}"


def sends_pictures(name: str) -> bool:
    """Whether photos leave this process for the captioner `name`.

    Raises:
        ModelError: no captioner can have this name.
    """
    return _parts(name)[0] == OPENAI


def load_captioner(
    name: str, *, device: str = "auto", precision: str = "auto", allow_download: bool = False
) -> Captioner:
    """Load the captioner that `name` means, one of `NAMES`; all but the first and last may name a checkpoint.

    `device` and `precision` are as in `search.models.device`; the built-in captioner always computes as its model
    does, and `openai:` elsewhere. Without `allow_download` no connection is opened, and weights that are not on this
    machine are an error at once; with it, they are downloaded if the hub answers within 3 s.

    Raises:
        ModelError: what is wrong with the name, the weights, the device or the precision.
        CaptionerUnavailableError: the environment lacks what `openai:` needs.
    """
    kind, choice = _parts(name)
    try:
        if kind == OPENAI:
            from indexer.describe.openai import load_openai

            return load_openai(choice)
        if kind == STARTER:
            from indexer.describe.starter import load_starter_captioner

            return load_starter_captioner(device=device)
        if kind == COCA:
            from indexer.describe.coca import load_coca

            return load_coca(choice, device=device, precision=precision, allow_download=allow_download)
        return load_huggingface(kind, choice, device=device, precision=precision, allow_download=allow_download)
    except SightlineError:
        raise
    except Exception as error:  # whatever a damaged file makes of itself in a third party's code
        if is_out_of_memory(error):
            raise ModelError(
                f"The captioner {name} does not fit into the memory of the device: use `--device cpu` or a smaller one."
            ) from error
        raise ModelError(
            f"The captioner {name} cannot be loaded; its files are incomplete, damaged or of another kind "
            f"({first_line(error)}). Replace them, or use `--captions starter`."
        ) from error


def _parts(name: str) -> tuple[str, str]:
    """The kind and what follows its colon."""
    kind, colon, choice = name.strip().partition(":")
    if kind in (COCA, *FAMILIES) or (kind == STARTER and not colon) or (kind == OPENAI and choice.strip()):
        return kind, choice.strip()
    raise ModelError(
        f"There is no captioner “{name}”: use {', '.join(NAMES)} or off; after a colon {COCA}, {', '.join(FAMILIES)} "
        "take a checkpoint."
    )
