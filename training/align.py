"""The last stage of learning: the text tower moves towards where the finished image tower really puts its pictures.

The image tower is frozen, so that each picture is embedded once (in a few views); what the text tower learns is the
difference between the teacher's space and its student's. It keeps the rest by going on with its own targets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.average import Average
from training.text import TextStudent


@dataclass(frozen=True)
class Examples:
    """What to align with.

    Attributes:
        photos: float32 [n, views, d], unit embeddings of the captioned photos.
        captions: int64 [n, k, length], the tokens of each one's captions.
        labelled: float32 [m, d], unit embeddings of labelled pictures; `labels` int64 [m] are their classes.
        labels: see `labelled`.
        prompts: int64 [classes, wordings, length], the tokens of each class's wordings.
        texts: int64 [t, length] tokens of the corpus; `targets` float [t, d] where they were learnt to lie.
        targets: see `texts`.
    """

    photos: Tensor
    captions: Tensor
    labelled: Tensor
    labels: Tensor
    prompts: Tensor
    texts: Tensor
    targets: Tensor


def align(student: TextStudent, examples: Examples, *, steps: int, progress: Callable[[str], None]) -> TextStudent:
    """Train `student` for `steps` updates; returns the running average of what it became."""
    rate = 5e-4
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(student.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    average = Average(student, decay=0.995)
    by_class = torch.argsort(examples.labels, stable=True)
    counts = torch.bincount(examples.labels, minlength=len(examples.prompts))
    starts = counts.cumsum(0) - counts

    def drawn(n: int, limit: int) -> Tensor:
        return torch.randint(limit, (n,), generator=generator)

    student.train()
    for step in range(steps):
        rows = torch.randperm(len(examples.photos), generator=generator)[:192]
        captions = examples.captions[rows, drawn(len(rows), examples.captions.shape[1])]
        view = drawn(len(examples.photos), examples.photos.shape[1])
        photos = examples.photos[torch.arange(len(examples.photos)), view]
        present = torch.nonzero(counts)[:, 0]
        classes = present[torch.randperm(len(present), generator=generator)[:96]]
        some = drawn(192, len(examples.texts))
        with torch.autocast(photos.device.type, torch.bfloat16):
            captioned, kept = student(captions), student(examples.texts[some])
        logits = 30 * captioned @ photos.T
        loss = functional.cross_entropy(logits, rows)
        loss = loss + functional.cross_entropy(logits[:, rows].T, torch.arange(len(rows)))
        if len(classes):
            # Four pictures of each class, told apart by the classes' wordings.
            offsets = (torch.rand(len(classes), 4, generator=generator) * counts[classes, None]).long()
            pictures = examples.labelled[by_class[starts[classes, None] + offsets]].flatten(0, 1)
            with torch.autocast(photos.device.type, torch.bfloat16):
                prompts = student(examples.prompts[classes, drawn(len(classes), examples.prompts.shape[1])])
            named = 30 * pictures @ prompts.T
            loss = loss + functional.cross_entropy(named, torch.arange(len(classes)).repeat_interleave(4))
        loss = loss + 2 * (1 - (kept * examples.targets[some]).sum(-1)).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        average.update(student)
        progress(f"{step + 1} of {steps} updates, loss {float(loss.detach()):.3f}")
    return average.applied(student)
