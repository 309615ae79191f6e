"""What all three trainings have in common: optimizer, running average, the count of samples, and their checkpoint."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn

from training.average import Average


class Learner:
    """A network that learns. `average` is what to measure and to ship; `seen` counts the samples."""

    def __init__(
        self, network: nn.Module, groups: list[dict[str, Any]], *, betas: tuple[float, float], most: float
    ) -> None:
        """Learn with AdamW (Loshchilov and Hutter 2019).

        Args:
            network: on its device already.
            groups: the optimizer's, each with its `weight_decay` and the `factor` of its learning rate.
            betas: AdamW's.
            most: the norm to which larger gradients are cut.
        """
        self.network, self._most = network, most
        self.average, self.seen = Average(network), 0
        self._optimizer = torch.optim.AdamW(groups, betas=betas, fused=True)

    def learn(self, loss: Tensor, rate: float, samples: int) -> None:
        """Take a step down `loss`, the mean over `samples` samples, together with the other processes if there are
        some."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        processes = _average_gradients(self.network)
        nn.utils.clip_grad_norm_(self.network.parameters(), self._most)
        self._optimizer.step()
        self.average.update(self.network)
        self.seen += samples * processes

    def begin_with(self, weights: dict[str, Tensor]) -> None:
        """Take over weights, and nothing else, from another training."""
        self.network.load_state_dict(weights)
        self.average = Average(self.network)

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state,
            "updates": self.average.updates,
            "optimizer": self._optimizer.state_dict(),
            "seen": self.seen,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.network.load_state_dict(state["network"])
        device = next(self.network.parameters()).device
        self.average.state = {name: value.to(device) for name, value in state["average"].items()}
        self.average.updates = int(state["updates"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.seen = int(state["seen"])


def _average_gradients(network: nn.Module) -> int:
    """Average the gradients over all processes; returns how many there are."""
    if not torch.distributed.is_initialized():
        return 1
    processes = torch.distributed.get_world_size()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    torch.distributed.all_reduce(flat)
    flat /= processes
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))
    return processes
