"""The compiled form of a network, made once and used for every fold that a process trains."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
from torch import nn

# Another one is set by tests, where no compiler need be installed.
BACKEND = "inductor"

_made: dict[Hashable, tuple[nn.Module, Callable[[torch.Tensor], torch.Tensor]]] = {}


def compiled_like(model: nn.Module, key: Hashable) -> tuple[nn.Module, Callable[[torch.Tensor], torch.Tensor]]:
    """Return a network with the weights of `model`, and its compiled form, which shares them.

    Parameters
    ----------
    model : torch.nn.Module
        On its device, with the weights to start from.
    key : hashable
        Networks of one key have the same layers, and see batches of the same shape and arithmetic.

    Returns
    -------
    torch.nn.Module
        `model` itself the first time; later the module of that time, filled with the weights of `model`.
    callable
        Its compiled form, for training.
    """
    if key not in _made:
        # Only the last one: another backbone's weights would stay in the device's memory, and torch compiles a
        # function no more after a few networks that it did not forget.
        if _made:
            _made.clear()
            torch.compiler.reset()
        _made[key] = (model, torch.compile(model, backend=BACKEND))
    kept, compiled = _made[key]
    if kept is not model:
        kept.load_state_dict(model.state_dict())
        # Of a training that failed in the middle of a step.
        kept.zero_grad()
    return kept, compiled
