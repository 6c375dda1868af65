"""Views of one image whose results are averaged: test-time augmentation."""

from __future__ import annotations

from collections.abc import Iterator

import torch

MOST_VIEWS = 8
"""A square has eight turns and mirrorings."""


def turned(pixels: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield (n, size, size, 3) images as they are, then mirrored and turned by quarters."""
    for quarters in (0, 2, 1, 3):
        turned = torch.rot90(pixels, quarters, dims=(1, 2))
        yield turned
        yield turned.flip(2)
