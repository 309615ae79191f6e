"""The image tower: trained against the teacher's map, its embedding and its similarities, against labels and captions.

Losses, each a mean over the batch (weights in `Losses`): cosine distance of the embedding to the teacher's for the same
crop; cosine distance of guessed to true components at every place of the last two feature maps; cross-entropy over all
classes, once in text space and once through a linear head that is dropped afterwards; contrast with one caption of
each captioned photo; and the Kullback-Leibler divergence from the teacher's distribution over those texts (all after
Hinton et al. 2015, Romero et al. 2015, Radford et al. 2021, Beyer et al. 2022).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.crops import jitter, random_crops
from training.head import TeacherHead
from training.learner import Learner
from training.student import ImageStudent, normalised
from training.targets import CAPTIONS, LearningSet, Targets
from training.teacher import uncompressed


@dataclass(frozen=True)
class Losses:
    """The weights of the losses."""

    embedding: float = 3.0
    places: float = 2.0
    middle: float = 1.0
    prompts: float = 1.0
    classes: float = 0.5
    captions: float = 0.15
    similarities: float = 1.0


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn: `samples` in all, pictures of `side` pixels in batches of `batch` a process.

    The rate rises over the first 20,000 samples, stays, and falls in a line to nothing over the last `decay` of all
    samples: a run can be made longer, and be cooled down more than once from where it stood (Hu et al. 2024, "WSD").
    """

    samples: int
    side: int
    batch: int
    rate: float = 1.5e-3
    decay: float = 0.3
    smallest_crop: float = 0.35

    def rate_at(self, seen: int) -> float:
        """The learning rate after `seen` samples."""
        left = (self.samples - seen) / max(1.0, self.decay * self.samples)
        return self.rate * max(0.0, min(1.0, (seen + 1000) / 20_000, left))


@dataclass(frozen=True)
class Batch:
    """One step's pictures, float [n, 3, side, side] in 0..1, and what is to be learnt of them.

    `places` [n, c, h, w] are the teacher's components of the same crops, `labels` int64 [n] and `captions` int64 [n]
    (rows of the bank) are -1 where there are none; `folds` int64 [n] as in `training.head`.
    """

    pictures: Tensor
    places: Tensor
    labels: Tensor
    captions: Tensor
    folds: Tensor


class Batches:
    """Batches in which every set has its share, each set in an order of its own."""

    def __init__(self, targets: Targets, schedule: Schedule, seed: int, device: str = "cpu") -> None:
        """`seed` decides the order, the crops and the captions; crops are cut on `device`."""
        self._schedule, self._device = schedule, device
        self._generator = torch.Generator().manual_seed(seed)
        self._sets = [found for found in targets.sets if found.share]
        counts = _portions([found.share for found in self._sets], schedule.batch)
        self._orders = [
            self._endless(len(found.pictures), count) for found, count in zip(self._sets, counts, strict=True)
        ]

    def __iter__(self) -> Iterator[Batch]:
        """Batches without end."""
        while True:
            parts = [self._part(found, next(order)) for found, order in zip(self._sets, self._orders, strict=True)]
            yield Batch(
                torch.cat([part.pictures for part in parts]),
                torch.cat([part.places for part in parts]),
                torch.cat([part.labels for part in parts]),
                torch.cat([part.captions for part in parts]),
                torch.cat([part.folds for part in parts]),
            )

    def _endless(self, n: int, count: int) -> Iterator[np.ndarray[Any, Any]]:
        queue = torch.empty(0, dtype=torch.int64)
        while True:
            while len(queue) < count:
                queue = torch.cat([queue, torch.randperm(n, generator=self._generator)])
            yield np.sort(queue[:count].numpy())
            queue = queue[count:]

    def _part(self, found: LearningSet, rows: np.ndarray[Any, Any]) -> Batch:
        n = len(rows)
        crops = random_crops(n, self._schedule.smallest_crop, self._generator)
        # Bytes travel to the device; floats, four times as large, are made there.
        pictures = torch.from_numpy(found.pictures.pixels[rows]).to(self._device).permute(0, 3, 1, 2).float().div_(255)
        pictures = jitter(crops.cut(pictures, self._schedule.side), 0.25, self._generator)
        places = uncompressed(torch.from_numpy(found.maps[rows]).to(self._device)).permute(0, 3, 1, 2)
        captions = torch.full((n,), -1)
        if found.captions is not None:
            pick = torch.randint(found.captions.shape[1], (n,), generator=self._generator)
            captions = found.captions[torch.from_numpy(rows), pick]
        chosen = torch.from_numpy(rows)
        maps = crops.cut(places, places.shape[2])
        return Batch(pictures, maps, found.labels[chosen], captions, found.folds[chosen])


class ImageTraining:
    """The training of a student; `learner` holds its state, `step` learns from one batch."""

    def __init__(
        self, student: ImageStudent, head: TeacherHead, targets: Targets, schedule: Schedule, device: str
    ) -> None:
        """Take over `student`."""
        self.student = student.to(device).to(memory_format=torch.channels_last)
        self.schedule, self.losses, self.device = schedule, Losses(), device
        self._head = copy.deepcopy(head).to(device).eval().requires_grad_(False)
        self._prompts = functional.normalize(targets.prompts.mean(1), dim=-1).to(device)
        self._captions = targets.captions.to(device)
        self._strength = targets.strength.to(device)
        self._captioned = [found.captions.to(device) for found in targets.sets if found.captions is not None]
        groups = [
            {"params": [p for p in student.parameters() if p.ndim > 1], "weight_decay": 0.05, "factor": 1.0},
            {"params": [p for p in student.parameters() if p.ndim <= 1], "weight_decay": 0.0, "factor": 1.0},
        ]
        self.learner = Learner(self.student, groups, betas=(0.9, 0.999), most=5.0)

    def step(self, batch: Batch) -> dict[str, float]:
        """Learn from a batch; returns each loss."""
        self.student.train()
        losses = self._losses(batch)
        total = sum((getattr(self.losses, name) * loss for name, loss in losses.items()), torch.zeros(()))
        self.learner.learn(total, self.schedule.rate_at(self.learner.seen), len(batch.pictures))
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        pictures, places = normalised(batch.pictures.to(self.device)), batch.places.to(self.device)
        labels, captions = batch.labels.to(self.device), batch.captions.to(self.device)
        with torch.autocast(self.device, torch.bfloat16):
            out = self.student(pictures)
        teacher = self._head.image(places.mean(dim=(2, 3)), batch.folds.to(self.device))
        embedding = out["embedding"]
        # One caption of each captioned photo, drawn anew for each step, and its own caption for each photo here.
        drawn = [rows[torch.arange(len(rows)), torch.randint(rows.shape[1], (len(rows),))] for rows in self._captioned]
        bank = torch.cat([self._prompts, *(self._captions[rows] for rows in drawn)])
        similarity, wanted = 25 * embedding @ bank.T, 25 * teacher @ bank.T
        classes = len(self._prompts)
        labelled, captioned = labels >= 0, captions >= 0
        target = places * self._strength.view(1, -1, 1, 1)
        half = out["middle"].shape[1]
        return {
            "embedding": (1 - (embedding * teacher).sum(-1)).mean(),
            "places": _cosine_distance(out["places"], target),
            "middle": _cosine_distance(out["middle"], target[:, :half]),
            "prompts": _cross_entropy(1.4 * similarity[labelled, :classes], labels[labelled]),
            "classes": _cross_entropy(out["classes"][labelled].float(), labels[labelled], smoothing=0.1),
            "captions": _cross_entropy(
                similarity[captioned, classes:], torch.div(captions[captioned], CAPTIONS, rounding_mode="floor")
            ),
            "similarities": functional.kl_div(
                similarity.log_softmax(-1), wanted.log_softmax(-1), reduction="batchmean", log_target=True
            ),
        }


def _cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """The mean, and zero for none: a batch may lack labelled or captioned pictures."""
    summed = functional.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="sum")
    return summed / max(1, len(labels))


def _cosine_distance(guess: Tensor, target: Tensor) -> Tensor:
    """Mean over pictures and places; `target` [n, c, h, w] is brought to the guess's places."""
    target = functional.adaptive_avg_pool2d(target, (guess.shape[2], guess.shape[3]))
    return (1 - functional.cosine_similarity(guess.float(), target, dim=1)).mean()


def _portions(shares: list[int], total: int) -> list[int]:
    """`total` in whole parts as the shares have it, at least one each."""
    exact = np.array(shares) * total / sum(shares)
    parts = np.maximum(1, np.floor(exact)).astype(int)
    for i in np.argsort(parts - exact)[: max(0, total - int(parts.sum()))]:
        parts[i] += 1
    return [int(part) for part in parts]
