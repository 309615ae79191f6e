"""The captioner's decoder, trained over the frozen image tower."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from indexer.describe.decoder import END, PAD, START, CaptionDecoder, DecoderShape
from training.learner import Learner


@dataclass(frozen=True)
class SeenPhotos:
    """What the image tower sees of the captioned photos, in several views of each.

    Attributes:
        places: float16 [n, views, places, features], its feature maps.
        embeddings: float32 [n, views, d], its unit embeddings.
        words: int64 [n, captions, length], the decoder's numbers of each caption: START, words, END, PAD.
    """

    places: Tensor
    embeddings: Tensor
    words: Tensor


def vocabulary(tokens: Tensor, least: int = 3) -> list[int]:
    """The tokens of CLIP that stand in captions at least `least` times; the decoder's own come before them."""
    found, counts = torch.unique(tokens, return_counts=True)
    return [int(token) for token, count in zip(found, counts, strict=True) if count >= least]


def numbered(caption: list[int], numbers: dict[int, int], length: int) -> Tensor | None:
    """A caption's tokens as the decoder's words, int64 [length]: START, words, END, PAD.

    None if one of the tokens is not among `numbers`.
    """
    own = [numbers.get(token) for token in caption[: length - 2]]
    if None in own:
        return None
    words = [START, *(word for word in own if word is not None), END]
    return torch.tensor(words + [PAD] * (length - len(words)))


class CaptionTraining:
    """The training of a decoder; `learner` holds its state, `step` learns from one batch."""

    def __init__(self, shape: DecoderShape, samples: int, rate: float, device: str) -> None:
        """Learn from `samples` captions in all, at most at `rate`."""
        self.decoder = CaptionDecoder(shape, dropout=0.2).to(device)
        self.samples, self.rate, self.device = samples, rate, device
        groups = [{"params": list(self.decoder.parameters()), "weight_decay": 0.05, "factor": 1.0}]
        self.learner = Learner(self.decoder, groups, betas=(0.9, 0.98), most=1.0)

    def step(self, places: Tensor, embeddings: Tensor, words: Tensor) -> dict[str, float]:
        """Learn from a batch: each next word, given what is seen and the words before; returns the loss."""
        seen = self.learner.seen
        rate = self.rate * max(0.0, min((seen + 500) / 15_000, 1 - seen / self.samples))
        self.decoder.train()
        places, embeddings, words = (part.to(self.device) for part in (places, embeddings, words))
        words = words[:, : int((words != PAD).sum(1).max())]
        with torch.autocast(self.device, torch.bfloat16):
            logits = self.decoder(words[:, :-1], self.decoder.memory(places.float(), embeddings))
        loss = functional.cross_entropy(
            logits.float().flatten(0, 1), words[:, 1:].flatten(), ignore_index=PAD, label_smoothing=0.1
        )
        self.learner.learn(loss, rate, len(words))
        return {"caption": float(loss.detach())}
