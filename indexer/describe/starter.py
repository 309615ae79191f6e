"""The built-in captioner: the starter model's image tower and a small decoder that ships beside it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from indexer.describe.captioner import Caption, first_line
from indexer.describe.wording import tidy
from search.errors import ModelError
from search.models.encoder import Encoder, load_encoder
from search.models.names import STARTER, resolve

if TYPE_CHECKING:
    import torch

    from indexer.describe.decoder import CaptionDecoder, DecoderShape

CONFIG_FILE, WEIGHTS_FILE = "captioner.json", "captioner.safetensors"


class StarterCaptioner:
    """Writes captions as `indexer.describe.captioner.Captioner` says. Make one with `load_starter_captioner`."""

    batch_size = 32

    def __init__(self, name: str, encoder: Encoder, decoder: CaptionDecoder, vocabulary: list[int], beams: int) -> None:
        """`vocabulary` are the tokens of CLIP that the decoder's words stand for, in their order."""
        from open_clip.tokenizer import SimpleTokenizer

        self.name = name
        self.side = max(encoder.image_size)
        self._encoder, self._beams = encoder, beams
        self._decoder: Any = decoder.to(encoder.device).eval()
        self._vocabulary = vocabulary
        self._tokenizer: Any = SimpleTokenizer()

    def caption(self, images: list[Image.Image]) -> list[Caption]:
        """One caption for each photo (RGB), in their order."""
        if not images:
            return []
        return self.caption_pixels(np.stack([self._encoder.preprocess(image) for image in images]))

    def caption_pixels(self, batch: np.ndarray[Any, np.dtype[np.uint8]]) -> list[Caption]:
        """Captions of photos that the encoder's `preprocess` made, uint8 [n, height, width, 3]."""
        import torch

        from indexer.describe.decoder import SPECIAL, write

        places, embeddings = self._encoder.feature_maps(batch)
        with torch.inference_mode():
            memory = self._decoder.memory(
                torch.from_numpy(places).flatten(1, 2).to(self._encoder.device),
                torch.from_numpy(embeddings).to(self._encoder.device),
            )
            found = write(self._decoder, memory, self._beams)
        return [
            Caption(tidy(self._tokenizer.decode([self._vocabulary[word - SPECIAL] for word in words])), confidence)
            for words, confidence in found
        ]


def starter_name(folder: Path | None = None) -> str:
    """What is stored with the captions of the built-in captioner, or of one in another `folder`, such as
    `starter:0f1e2d3c`: a later release that has learnt more writes them anew.

    Raises:
        ModelError: its weights are missing.
    """
    weights = (folder or _shipped()) / WEIGHTS_FILE
    try:
        return f"{STARTER}:{hashlib.blake2b(weights.read_bytes(), digest_size=4).hexdigest()}"
    except OSError as error:
        raise ModelError(f"There is no captioner in {weights.parent}: it has no {WEIGHTS_FILE}.") from error


def load_starter_captioner(*, folder: Path | None = None, device: str = "auto", beams: int = 3) -> StarterCaptioner:
    """Load the captioner that ships with Sightline, or one of the same layout from another `folder`.

    Raises:
        ModelError: its files are missing, damaged, or do not fit its image tower.
    """
    from safetensors.torch import load_file

    from indexer.describe.decoder import CaptionDecoder, shape_from

    encoder = load_encoder(STARTER if folder is None else f"local-dir:{folder}", device=device)
    folder = folder or _shipped()
    for needed in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / needed).is_file():
            raise ModelError(f"There is no captioner in {folder}: it has no {needed}.")
    try:
        saved: dict[str, Any] = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        decoder = CaptionDecoder(shape_from(saved))
        weights: dict[str, torch.Tensor] = load_file(folder / WEIGHTS_FILE)
        decoder.load_state_dict({key: value.float() for key, value in weights.items()})
        vocabulary = [int(token) for token in saved["vocabulary"]]
        _check(encoder, decoder.shape)
    except ModelError:
        raise
    except Exception as error:  # whatever a damaged file makes of itself in a third party's code
        raise ModelError(
            f"The captioner in {folder} cannot be loaded; its files are damaged ({first_line(error)})."
        ) from error
    return StarterCaptioner(starter_name(folder), encoder, decoder, vocabulary, beams)


def _shipped() -> Path:
    folder = resolve(STARTER).folder
    assert folder is not None
    return folder


def _check(encoder: Encoder, shape: DecoderShape) -> None:
    """Let the image tower look at nothing, to see whether the decoder can read what it sees."""
    places, embeddings = encoder.feature_maps(np.zeros((1, *encoder.image_size, 3), dtype=np.uint8))
    found = (places.shape[1] * places.shape[2], places.shape[3], embeddings.shape[1])
    if found != (shape.places, shape.features, shape.embedding):
        raise ModelError(
            f"The captioner does not fit the image tower of {encoder.name}: it reads {shape.places} places of "
            f"{shape.features} numbers, the tower has {found[0]} of {found[1]}."
        )
