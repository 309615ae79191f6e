"""Beam search: the likeliest sentences of anything that says how likely each next token is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Marks(NamedTuple):
    """The numbers of the tokens that are no words."""

    pad: int
    start: int
    end: int


@torch.inference_mode()
def beam_search(
    next_logits: Callable[[Tensor, Tensor], Tensor],
    photos: int,
    marks: Marks,
    *,
    beams: int,
    length: int,
    length_penalty: float,
    device: str | torch.device,
) -> list[tuple[list[int], float]]:
    """The likeliest sentence for each of so many `photos` (greedy where `beams` is 1).

    Sentences are compared by the sum of their log probabilities divided by tokens ** `length_penalty` (Wu et al.
    2016). None has more than `length` tokens, the start included. `next_logits` gives the logits float
    [photos * beams, tokens] of what follows each of int64 [photos * beams, n]; a photo's beams stand together, and the
    logits are written to. It also hears which row of the step before each row goes on, int64 [photos * beams], for
    those that remember what they computed then.

    Returns:
        For each photo its tokens without the marks, and the mean log probability of a token.
    """
    words = torch.full((photos * beams, 1), marks.start, device=device)
    # In the beginning all beams are the same: only the first counts.
    scores = torch.full((photos, beams), float("-inf"), device=device)
    scores[:, 0] = 0.0
    ended = torch.zeros(photos, beams, dtype=torch.bool, device=device)
    lengths = torch.zeros(photos, beams, device=device)  # words, and the end
    rows = torch.arange(photos * beams, device=device)
    for step in range(length - 1):
        logits = next_logits(words, rows)
        logits[:, [marks.pad, marks.start]] = float("-inf")
        if step == 0:
            logits[:, marks.end] = float("-inf")
        steps = logits.log_softmax(-1).view(photos, beams, -1)
        # A sentence that has ended goes on with padding, at no cost.
        steps[ended] = float("-inf")
        steps[..., marks.pad] = torch.where(ended, 0.0, steps[..., marks.pad])
        totals = scores[:, :, None] + steps
        after = (lengths + ~ended) ** length_penalty
        best = (totals / after[:, :, None]).flatten(1).topk(beams).indices
        parents, chosen = best // totals.shape[2], best % totals.shape[2]
        scores = totals.flatten(1).gather(1, best)
        lengths = (lengths + ~ended).gather(1, parents)
        ended = ended.gather(1, parents) | (chosen == marks.end)
        rows = (torch.arange(photos, device=device)[:, None] * beams + parents).flatten()
        words = torch.cat([words[rows], chosen.flatten()[:, None]], dim=1)
        if bool(ended.all()):
            break
    every = torch.arange(photos, device=device)
    first = (scores / lengths**length_penalty).argmax(1)
    found = words.view(photos, beams, -1)[every, first]
    means = scores[every, first] / lengths[every, first]
    return [
        ([word for word in row if word not in marks], mean)
        for row, mean in zip(found.tolist(), means.tolist(), strict=True)
    ]
