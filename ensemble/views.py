"""Views of one image whose results are averaged: test-time augmentation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import affine_grid, grid_sample

from cv_folds.errors import UsageError

MOST_TURNS = 8
"""A square has eight turns and mirrorings."""

MOST_SPINS = 64
"""More would hardly move the average."""


@dataclass(frozen=True, kw_only=True)
class Views:
    """Which views of every image go through the members.

    Raises
    ------
    UsageError
        On construction, when a number is out of range.
    """

    turns: int = 1
    """Quarter turns and their mirror images, 1 to 8; the first is the image as it is."""
    spins: int = 0
    """Turns by random angles that are added to them, 0 to 64."""
    seed: int = 0
    """Of the random angles: the k-th view is turned by the same angle in every image and every call."""

    def __post_init__(self) -> None:
        if not 1 <= self.turns <= MOST_TURNS:
            raise UsageError(f"{self.turns} views: give a number from 1 to {MOST_TURNS}")
        if not 0 <= self.spins <= MOST_SPINS:
            raise UsageError(f"{self.spins} spins: give a number from 0 to {MOST_SPINS}")
        if self.seed < 0:
            raise UsageError(f"seed {self.seed} of the spins: give a number from 0 on")

    def of(self, pixels: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield every view.

        Parameters
        ----------
        pixels : (n, size, size, 3) uint8 tensor
            Square images.

        Yields
        ------
        (n, size, size, 3) uint8 tensor, float32 in 0..255 for spins
        """
        for number in range(self.turns):
            turned = torch.rot90(pixels, (0, 2, 1, 3)[number // 2], dims=(1, 2))
            yield turned.flip(2) if number % 2 else turned
        for number in range(self.spins):
            # From the number of the view, not from one stream: fewer spins are the first of more.
            angle = np.random.default_rng([self.seed, number]).uniform(0, 2 * math.pi)
            yield _spun(pixels, float(angle))


def _spun(pixels: torch.Tensor, angle: float) -> torch.Tensor:
    """Turn about the centre by `angle` radians, bilinearly; what comes in from outside is the reflection."""
    cosine, sine = math.cos(angle), math.sin(angle)
    images = pixels.permute(0, 3, 1, 2).float()
    turn = torch.tensor([[cosine, -sine, 0.0], [sine, cosine, 0.0]], device=pixels.device)
    grid = affine_grid(turn.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    spun = grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return spun.permute(0, 2, 3, 1)


AS_IT_IS = Views()
"""One view: the image itself."""
