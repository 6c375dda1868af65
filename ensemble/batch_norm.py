"""Batch normalisation folded into the convolution before it: the same function with fewer passes over memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet


def fold_batch_norm(network: nn.Module) -> None:
    """Fold every normalisation that directly follows a convolution, in place.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode. Normalisations become identities; all modules keep their names. Outputs stay the same but
        for rounding, about 1e-6 of their size.

    Notes
    -----
    In evaluation mode the normalisation is a fixed scale and shift of each channel, so that ``scale * (w * x) + shift``
    is a convolution itself. Pairs are found in `nn.Sequential` and in the blocks of residual networks, where the order
    of the calls is known; others are left as they are.
    """
    for owner, convolution, normalisation in list(_pairs(network)):
        before, after = getattr(owner, convolution), getattr(owner, normalisation)
        setattr(owner, convolution, fuse_conv_bn_eval(before, after))
        setattr(owner, normalisation, nn.Identity())


def _pairs(network: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """Yield the module that holds a pair, and the names of the convolution and of the normalisation in it."""
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            names = list(pairwise(module._modules))
        elif isinstance(module, ResNet | BasicBlock | Bottleneck):
            names = [(f"conv{index}", f"bn{index}") for index in (1, 2, 3)]
        else:
            continue
        for first, second in names:
            one, other = getattr(module, first, None), getattr(module, second, None)
            # Not its subclasses: timm's ends with an activation that would be lost.
            if isinstance(one, nn.Conv2d) and type(other) is nn.BatchNorm2d:
                yield module, first, second
