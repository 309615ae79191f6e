"""The teacher's head: from the classifier's features, and from the sentence teacher's embeddings, to one space.

A small network over frozen features, trained in a minute: it gives every crop of every picture a target embedding, and
scores far above what its student will. Its text side is linear, so that the text tower can learn its targets directly.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.crops import random_crops
from training.teacher import uncompressed


class TeacherHead(nn.Module):
    """`image`: pooled components [n, components] to unit embeddings [n, d]; `text`: sentence embeddings likewise."""

    def __init__(self, strength: Tensor, sentence_width: int = 384, width: int = 384) -> None:
        """With random weights, but for the text side, which begins as the identity where the widths allow it.

        Args:
            strength: float32 [components], by how much each component counts (see `training.teacher.Projection`).
            sentence_width: s.
            width: d.
        """
        super().__init__()
        self.register_buffer("strength", strength)
        self.strength: Tensor
        # Much dropout: a few thousand captioned photos are soon learnt by heart.
        self.image_side = nn.Sequential(
            nn.Dropout(0.4), nn.Linear(len(strength), 1024), nn.GELU(), nn.Dropout(0.7), nn.Linear(1024, width)
        )
        self.text_side = nn.Linear(sentence_width, width, bias=False)
        nn.init.eye_(self.text_side.weight)

    def image(self, pooled: Tensor) -> Tensor:
        """Unit embeddings of pooled components."""
        return functional.normalize(self.image_side(pooled * self.strength), dim=-1)

    def text(self, sentences: Tensor) -> Tensor:
        """Unit embeddings of the sentence teacher's embeddings."""
        return functional.normalize(self.text_side(sentences), dim=-1)


def train_head(
    head: TeacherHead,
    maps: Tensor,
    captions: Tensor,
    labelled: Tensor,
    labels: Tensor,
    classes: Tensor,
    *,
    steps: int,
    seed: int = 0,
) -> float:
    """Train `head` in place and return the last loss.

    Args:
        head: the network.
        maps: int8 [n, components, h, w], the stored maps of the captioned pictures, of which crops are learnt.
        captions: float32 [n, k, s], the sentence embeddings of each one's captions.
        labelled: float32 [m, components], pooled components of labelled pictures; `labels` int64 [m] are their classes.
        labels: see `labelled`.
        classes: float32 [c, p, s], sentence embeddings of each class's wordings.
        steps: updates.
        seed: of the random order.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps, pct_start=0.1)
    batch = min(384, len(maps))
    head.train()
    loss = torch.zeros(())
    for _ in range(steps):
        rows = torch.randperm(len(maps), generator=generator)[:batch]
        pick = torch.randint(captions.shape[1], (batch,), generator=generator)
        crops = random_crops(batch, 0.35, generator).cut(uncompressed(maps[rows]), maps.shape[2])
        logits = 20 * head.image(crops.mean(dim=(2, 3))) @ head.text(captions[rows, pick]).T
        own = torch.arange(batch)
        loss = (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2
        if len(labelled):
            some = torch.randint(len(labelled), (192,), generator=generator)
            wording = torch.randint(classes.shape[1], (len(classes),), generator=generator)
            named = head.text(classes[torch.arange(len(classes)), wording])
            loss = loss + 0.25 * functional.cross_entropy(20 * head.image(labelled[some]) @ named.T, labels[some])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    head.eval()
    return float(loss.detach())
