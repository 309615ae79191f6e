"""The teacher's head: from the classifier's features, and from the sentence teacher's embeddings, to one space.

Small networks over frozen features, trained in minutes: they give every crop of every picture a target embedding, and
score far above what their student will. The text side is linear, so that the text tower can learn its targets directly.

A network learns a few thousand captioned photos by heart, and what it has learnt by heart is no target: the student
would have to learn it by heart too. So there are several, each kept away from one part of the captioned photos, and a
captioned photo's target comes from the one that has not seen it (cross-fitting; Chernozhukov et al. 2018). Elsewhere
their mean counts, as that of an ensemble.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.crops import random_crops
from training.teacher import uncompressed

FOLDS = 4


def fold_of(n: int) -> Tensor:
    """The part that each of `n` captioned photos of a set belongs to, int64 [n]."""
    return torch.arange(n) % FOLDS


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
        self.image_sides = nn.ModuleList(
            nn.Sequential(
                nn.Dropout(0.4), nn.Linear(len(strength), 1024), nn.GELU(), nn.Dropout(0.7), nn.Linear(1024, width)
            )
            for _ in range(FOLDS)
        )
        self.text_side = nn.Linear(sentence_width, width, bias=False)
        nn.init.eye_(self.text_side.weight)

    def each(self, pooled: Tensor) -> Tensor:
        """Unit embeddings float [FOLDS, n, d] of pooled components, by each of the networks."""
        scaled = pooled * self.strength
        return torch.stack([functional.normalize(side(scaled), dim=-1) for side in self.image_sides])

    def image(self, pooled: Tensor, folds: Tensor | None = None) -> Tensor:
        """Unit embeddings of pooled components.

        With `folds`, int64 [n], by the network that was kept away from that part; by all together where it is -1.
        """
        found = self.each(pooled)
        mean = functional.normalize(found.mean(0), dim=-1)
        if folds is None:
            return mean
        own = found[folds.clamp(min=0), torch.arange(len(pooled), device=pooled.device)]
        return torch.where((folds >= 0)[:, None], own, mean)

    def text(self, sentences: Tensor) -> Tensor:
        """Unit embeddings of the sentence teacher's embeddings."""
        return functional.normalize(self.text_side(sentences), dim=-1)


def train_head(
    head: TeacherHead,
    maps: Tensor,
    folds: Tensor,
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
        folds: int64 [n], the part that each of them belongs to.
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
        images, texts = head.each(crops.mean(dim=(2, 3))), head.text(captions[rows, pick])
        losses = []
        for part in range(FOLDS):
            known = folds[rows] != part
            logits = 20 * images[part, known] @ texts[known].T
            own = torch.arange(len(logits))
            losses.append((functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2)
        loss = torch.stack(losses).mean()
        if len(labelled):
            some = torch.randint(len(labelled), (192,), generator=generator)
            wording = torch.randint(classes.shape[1], (len(classes),), generator=generator)
            named = 20 * head.each(labelled[some]) @ head.text(classes[torch.arange(len(classes)), wording]).T
            loss = loss + 0.25 * functional.cross_entropy(named.flatten(0, 1), labels[some].repeat(FOLDS))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    head.eval()
    return float(loss.detach())
