"""CoCa, the contrastive captioner of Yu et al. (2022), as open_clip has it; here it writes, and never embeds."""

from __future__ import annotations

import os
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING, Any

from PIL import Image

from indexer.describe.captioner import Caption
from indexer.describe.downloads import check_download
from indexer.describe.wording import tidy
from search.errors import ModelError
from search.models import hub
from search.models.device import choose_device, choose_precision
from search.models.encoder import quiet
from search.models.names import FOLDER_PREFIX, HUB_PREFIX, ModelName, architecture_config

if TYPE_CHECKING:
    import torch

DEFAULT = "coca_ViT-L-14/mscoco_finetuned_laion2b_s13b_b90k"
_LENGTH = 30  # tokens; open_clip's own `generate` writes as many


class CocaCaptioner:
    """Writes captions as `indexer.describe.captioner.Captioner` says. Make one with `load_coca`."""

    def __init__(self, name: str, network: Any, transform: Any, tokenizer: Any, device: str, precision: str) -> None:
        """Takes over `network`, loaded for `device` and `precision`; `transform` makes its pixels."""
        self.name = name
        self.batch_size = 32 if device == "cuda" else 8
        size = network.visual.image_size
        self.side = int(size if isinstance(size, int) else max(size))
        self._network, self._transform, self._tokenizer = network.eval(), transform, tokenizer
        self._device, self._precision = device, precision

    def caption(self, images: list[Image.Image]) -> list[Caption]:
        """One caption for each photo (RGB), in their order, by beam search."""
        import torch

        if not images:
            return []
        pixels = torch.stack([self._transform(image) for image in images]).to(self._device)
        low = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self._precision)
        with torch.inference_mode(), torch.autocast(self._device, dtype=low) if low else nullcontext():
            found = self._write(pixels)
        return [Caption(tidy(self._tokenizer.decode(words)), confidence) for words, confidence in found]

    def _write(self, pixels: torch.Tensor, beams: int = 3) -> list[tuple[list[int], float]]:
        # open_clip's `generate` needs transformers' BeamSearchScorer, which transformers 5 no longer has.
        from indexer.describe.beams import Marks, beam_search

        seen = self._network(pixels)
        latent = seen["image_features"].repeat_interleave(beams, dim=0)
        places = seen["image_embs"].repeat_interleave(beams, dim=0)

        def next_logits(words: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
            found = self._network(None, words, image_latent=latent, image_embs=places, output_labels=False)
            logits: torch.Tensor = found["logits"][:, -1].float()
            return logits

        return beam_search(
            next_logits,
            len(pixels),
            Marks(self._network.pad_id, self._tokenizer.sot_token_id, self._tokenizer.eot_token_id),
            beams=beams,
            length=min(_LENGTH, self._network.context_length),
            length_penalty=1.0,
            device=self._device,
        )


def resolve_coca(choice: str) -> ModelName:
    """The checkpoint that `choice` means, open_clip's ARCH/PRETRAINED, `hf-hub:…` or `local-dir:…`; none is `DEFAULT`.

    Its `name` is the captioner's, `coca:` included.

    Raises:
        ModelError: no CoCa can have this name.
    """
    choice = choice or DEFAULT
    if choice.startswith(FOLDER_PREFIX) and choice != FOLDER_PREFIX:
        choice = f"{FOLDER_PREFIX}{os.path.abspath(os.path.expanduser(choice.removeprefix(FOLDER_PREFIX)))}"
        return ModelName(f"coca:{choice}", choice)
    if choice.startswith(HUB_PREFIX) and choice.count("/") == 1:
        return ModelName(f"coca:{choice}", choice)
    architecture, _, pretrained = choice.partition("/")
    try:
        captions = "multimodal_cfg" in architecture_config(architecture)
    except KeyError:
        captions = False
    if not captions or not pretrained:
        raise ModelError(
            f"There is no CoCa “{choice}”: use coca (which is coca:{DEFAULT}), another of open_clip's CoCa models as "
            "coca:ARCH/PRETRAINED, coca:hf-hub:ORG/REPO or coca:local-dir:FOLDER."
        )
    return ModelName(f"coca:{choice}", architecture, pretrained)


def load_coca(choice: str, *, device: str, precision: str, allow_download: bool) -> CocaCaptioner:
    """Load the CoCa that `resolve_coca(choice)` means, on `device` in `precision` (as in `search.models.device`).

    Raises:
        ModelError: there is no such checkpoint here, and none can be downloaded; or it is no CoCa.
        Exception: whatever open_clip makes of damaged files.
    """
    model = resolve_coca(choice)
    here = hub.is_cached(model)
    if not here and model.folder is not None:
        raise ModelError(f"The folder {model.folder} has no {hub.CONFIG_FILE} with its weights: coca needs both.")
    if not here:
        check_download(model.name, allow_download)
    device = choose_device(device)
    precision = choose_precision(precision, device)
    import open_clip
    from open_clip.tokenizer import SimpleTokenizer

    with ExitStack() as stack:
        stack.enter_context(quiet())
        if here:
            stack.enter_context(hub.offline())
        network, transform = open_clip.create_model_from_pretrained(
            model.open_clip_name, pretrained=model.pretrained, precision=precision, device=device
        )
        tokenizer = open_clip.get_tokenizer(model.open_clip_name)
    if not isinstance(network, open_clip.CoCa) or not isinstance(tokenizer, SimpleTokenizer):
        raise ModelError(f"The model {model.open_clip_name} is no CoCa with CLIP's vocabulary: use `--captions coca`.")
    return CocaCaptioner(model.name, network, transform, tokenizer, device, precision)
