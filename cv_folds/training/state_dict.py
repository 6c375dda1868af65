"""Putting stored tensors into a network."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import nn


def load_tensors(
    model: nn.Module, tensors: Mapping[str, torch.Tensor], *, strict: bool = True, assign: bool = False
) -> None:
    """Load tensors by name, whether or not they remember which version of the network they come from.

    Parameters
    ----------
    model : torch.nn.Module
        What is filled.
    tensors : mapping of str to torch.Tensor
        Entry of the state dict to its value.
    strict : bool
        Raise when an entry is missing or extra.
    assign : bool
        Let the network hold the tensors themselves, instead of copies in its own.

    Raises
    ------
    RuntimeError
        When an entry is of another shape, or as `strict` says.
    """
    # A file of plain tensors has no versions of its modules, and MNASNet refuses to be loaded without: the tensors are
    # taken for those of the network as it is built today.
    state = OrderedDict(tensors)
    state._metadata = model.state_dict()._metadata  # type: ignore[attr-defined]
    model.load_state_dict(state, strict=strict, assign=assign)
