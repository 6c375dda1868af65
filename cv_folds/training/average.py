"""Exponential moving average of the weights of a network in training."""

from __future__ import annotations

import copy

import torch
from torch import nn


class WeightAverage:
    """A second network whose weights follow those of the first, slowly.

    The decay rises to its final value with the number of steps, as min(decay, (1 + t) / (10 + t)), so that the random
    start is forgotten. Running statistics of batch normalisation are averaged alike. Averaging the iterates goes back
    to Polyak and Juditsky, "Acceleration of stochastic approximation by averaging" (1992).

    Parameters
    ----------
    model : torch.nn.Module
        The network to follow.
    decay : float
        Weight of the past, a step, in the long run.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.model.eval()
        self._decay = decay
        self.steps = 0
        pairs = list(zip(self.model.state_dict().values(), model.state_dict().values(), strict=True))
        # `state_dict` gives the tensors themselves, so these lists stay true to both networks.
        self._averaged = [average for average, _ in pairs if average.is_floating_point()]
        self._followed = [value for average, value in pairs if average.is_floating_point()]
        self._counts = [(average, value) for average, value in pairs if not average.is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Take one step towards the present weights."""
        self.steps += 1
        decay = min(self._decay, (1 + self.steps) / (10 + self.steps))
        # One kernel for many tensors; there is no public name for it.
        torch._foreach_lerp_(self._averaged, self._followed, 1 - decay)
        for count, value in self._counts:
            count.copy_(value)
