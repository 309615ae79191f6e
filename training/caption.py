"""The captioner's decoder, trained over the frozen image tower."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from indexer.describe.decoder import PAD, SPECIAL, CaptionDecoder, DecoderShape
from training.average import Average


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


def numbered(captions: list[list[int]], kept: list[int], length: int) -> Tensor | None:
    """Captions as the decoder's numbers, int64 [n, length]; None if one holds a token that is not kept."""
    numbers = {token: SPECIAL + i for i, token in enumerate(kept)}
    rows = torch.full((len(captions), length), PAD)
    for i, caption in enumerate(captions):
        own = [numbers.get(token, -1) for token in caption][: length - 2]
        if -1 in own:
            return None
        rows[i, : len(own) + 2] = torch.tensor([1, *own, 2])
    return rows


class CaptionTraining:
    """The state of the decoder's training."""

    def __init__(self, shape: DecoderShape, samples: int, rate: float, device: str) -> None:
        """Learn from `samples` captions in all."""
        self.decoder = CaptionDecoder(shape, dropout=0.2).to(device)
        self.average = Average(self.decoder)
        self.samples, self.rate, self.seen, self.device = samples, rate, 0, device
        self.optimizer = torch.optim.AdamW(self.decoder.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.05)

    def step(self, places: Tensor, embeddings: Tensor, words: Tensor) -> float:
        """Learn from a batch: each next word, given what is seen and the words before."""
        left = (self.samples - self.seen) / self.samples
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * max(0.0, min((self.seen + 500) / 15_000, left))
        self.decoder.train()
        places, embeddings, words = (part.to(self.device) for part in (places, embeddings, words))
        words = words[:, : int((words != PAD).sum(1).max())]
        with torch.autocast(self.device, torch.bfloat16):
            logits = self.decoder(words[:, :-1], self.decoder.memory(places.float(), embeddings))
        loss = functional.cross_entropy(
            logits.float().flatten(0, 1), words[:, 1:].flatten(), ignore_index=PAD, label_smoothing=0.1
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.decoder.parameters(), 1.0)
        self.optimizer.step()
        self.average.update(self.decoder)
        self.seen += len(words)
        return float(loss.detach())

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs."""
        return {
            "decoder": self.decoder.state_dict(),
            "average": self.average.state,
            "updates": self.average.updates,
            "optimizer": self.optimizer.state_dict(),
            "seen": self.seen,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.decoder.load_state_dict(state["decoder"])
        self.average.state = {name: value.to(self.device) for name, value in state["average"].items()}
        self.average.updates = int(state["updates"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.seen = int(state["seen"])
