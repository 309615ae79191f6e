"""A running average of a network's weights, which generalises better than the last ones (Izmailov et al. 2018)."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

_Network = TypeVar("_Network", bound=nn.Module)


class Average:
    """The exponential moving average of a network's state; what it averages over grows in the beginning."""

    def __init__(self, network: nn.Module, decay: float = 0.999) -> None:
        """Begin with the network's state as it is."""
        self.state = {name: value.detach().clone() for name, value in network.state_dict().items()}
        self._decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the network's present state."""
        self.updates += 1
        decay = min(self._decay, (1 + self.updates) / (10 + self.updates))
        now = network.state_dict()
        smooth = [name for name, mean in self.state.items() if mean.is_floating_point()]
        torch._foreach_lerp_([self.state[name] for name in smooth], [now[name] for name in smooth], 1 - decay)
        for name in self.state.keys() - smooth:
            self.state[name].copy_(now[name])

    def applied(self, network: _Network) -> _Network:
        """A copy of the network with the average as its weights, ready to be asked."""
        averaged = copy.deepcopy(network)
        averaged.load_state_dict(self.state)
        return averaged.eval()
