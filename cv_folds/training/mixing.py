"""Mixup and cutmix: training images made of two, with the targets in the same shares."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from cv_folds.training.settings import TrainingSettings


@dataclass(frozen=True, kw_only=True)
class Mix:
    """How one batch is mixed with itself in another order."""

    order: torch.Tensor
    """(n,) int64: the partner of each image."""
    share: float
    """Of the first image, in the target; from 0 to 1."""
    box: tuple[int, int, int, int] | None
    """Rows from, rows to, columns from, columns to that cutmix takes from the partner; None for mixup."""

    def to(self, device: torch.device) -> Mix:
        """Return the same mix with its order on a device."""
        return replace(self, order=self.order.to(device, non_blocking=True))


def draw_mix(n: int, size: int, settings: TrainingSettings, rng: np.random.Generator) -> Mix | None:
    """Draw how to mix a batch; None when the settings ask for no mixing.

    Mixup is Zhang et al., "mixup: Beyond empirical risk minimization" (2018); cutmix is Yun et al., "CutMix" (2019).

    Parameters
    ----------
    n : int
        Images of the batch.
    size : int
        Side of an image in pixels.
    settings : TrainingSettings
        The shapes of the beta distributions.
    rng : numpy.random.Generator
        Where the random numbers come from.
    """
    if settings.mixup == 0 and settings.cutmix == 0:
        return None
    cut = settings.mixup == 0 or (settings.cutmix > 0 and rng.random() < 0.5)
    shape = settings.cutmix if cut else settings.mixup
    share = float(rng.beta(shape, shape))
    order = torch.from_numpy(rng.permutation(n))
    if not cut:
        return Mix(order=order, share=share, box=None)
    side = math.sqrt(1 - share) * size
    row, column = rng.uniform(0, size, 2)
    top, bottom, left, right = (
        min(size, max(0, round(edge)))
        for edge in (row - side / 2, row + side / 2, column - side / 2, column + side / 2)
    )
    # The border may have cut the box: the share is that of the pixels that were really kept.
    kept = 1 - (bottom - top) * (right - left) / size**2
    return Mix(order=order, share=kept, box=(top, bottom, left, right))


def mix_images(images: torch.Tensor, mix: Mix) -> torch.Tensor:
    """Return (n, 3, size, size) float32 images mixed with their partners; the argument is left alone."""
    partners = images[mix.order]
    if mix.box is None:
        return torch.lerp(partners, images, mix.share)
    top, bottom, left, right = mix.box
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = partners[:, :, top:bottom, left:right]
    return mixed
