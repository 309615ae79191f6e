"""The text tower: it learns to put texts where the teacher's head puts the sentence teacher's embeddings of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.learner import Learner


class TextStudent(nn.Module):
    """The text half of an open_clip CLIP, run on no more positions than the longest text of a batch needs."""

    def __init__(self, network: Any) -> None:
        """Share the parameters of `network`."""
        super().__init__()
        self.token_embedding = network.token_embedding
        self.positional_embedding = network.positional_embedding
        self.transformer = network.transformer
        self.ln_final = network.ln_final
        self.text_projection = network.text_projection
        self.register_buffer("mask", network.attn_mask, persistent=False)
        self.mask: Tensor

    def forward(self, tokens: Tensor) -> Tensor:
        """Unit embeddings float32 [n, d] of `tokens` int64 [n, length]: 0 pads, the last token is the largest."""
        length = int((tokens != 0).sum(1).max())
        tokens = tokens[:, :length]
        states = self.token_embedding(tokens) + self.positional_embedding[:length]
        states = self.ln_final(self.transformer(states, attn_mask=self.mask[:length, :length]))
        ends = states[torch.arange(len(tokens)), tokens.argmax(-1)]
        return functional.normalize((ends @ self.text_projection).float(), dim=-1)


def batches(lengths: Tensor, size: int, seed: int) -> Iterator[Tensor]:
    """Rows in batches of like lengths, without end: each epoch in another order."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        # Lengths within a random half token of each other count as alike, so that batches differ between epochs.
        order = torch.argsort(lengths + 1.5 * torch.rand(len(lengths), generator=generator))
        pieces = list(order.split(size))
        for i in torch.randperm(len(pieces), generator=generator).tolist():
            yield pieces[i]


class TextTraining:
    """The training of a text tower; `learner` holds its state, `step` learns from one batch."""

    def __init__(self, student: TextStudent, samples: int, rate: float, device: str) -> None:
        """Learn from `samples` texts in all, at most at `rate` (twice that for the token embedding)."""
        self.student, self.samples, self.rate, self.device = student.to(device), samples, rate, device
        tokens = self.student.token_embedding.weight
        groups = [
            {"params": [tokens], "weight_decay": 0.0, "factor": 2.0},
            {"params": [p for p in student.parameters() if p is not tokens], "weight_decay": 0.02, "factor": 1.0},
        ]
        self.learner = Learner(self.student, groups, betas=(0.9, 0.98), most=1.0)

    def step(self, tokens: Tensor, target: Tensor) -> dict[str, float]:
        """Learn from tokens int64 [n, length] and their target embeddings [n, d]; returns each loss."""
        seen = self.learner.seen
        left = (self.samples - seen) / (0.5 * self.samples)
        rate = self.rate * max(0.0, min(1.0, (seen + 500) / 20_000, left))
        self.student.train()
        tokens, target = tokens.to(self.device), target.to(self.device)
        with torch.autocast(self.device, torch.bfloat16):
            embedding = self.student(tokens)
        distance = (1 - (embedding * target).sum(-1)).mean()
        # What else is near, and how near, is learnt from the batch itself.
        wanted = (20 * target @ target.T).log_softmax(-1)
        found = (20 * embedding @ target.T).log_softmax(-1)
        divergence = functional.kl_div(found, wanted, reduction="batchmean", log_target=True)
        self.learner.learn(distance + 0.2 * divergence, rate, len(tokens))
        return {"distance": float(distance.detach()), "divergence": float(divergence.detach())}
