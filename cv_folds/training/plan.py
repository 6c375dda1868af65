"""Everything random about one epoch, drawn before it begins.

Drawn on the CPU from the passed generator, so that every device sees the same epoch, and in one go, so that nothing
is sent to a GPU inside the loop. An epoch that was interrupted is drawn again from the generator's state at its
beginning and goes on where it stood.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from cv_folds.training.augment import AugmentationParameters, draw_parameters
from cv_folds.training.mixing import Mix, draw_mix
from cv_folds.training.resampling import draw_epoch, epoch_size
from cv_folds.training.settings import TrainingSettings


@dataclass(frozen=True, kw_only=True)
class EpochSize:
    """How an epoch is cut into steps."""

    steps: int
    """Steps an epoch."""
    batch_size: int
    """Images a step; the same in every step."""

    @property
    def images(self) -> int:
        """Images an epoch."""
        return self.steps * self.batch_size


@dataclass(frozen=True, kw_only=True)
class EpochPlan:
    """What one epoch shows and how it changes it."""

    positions: torch.Tensor
    """(steps, batch_size) int64, on the CPU: positions in the training view."""
    parameters: AugmentationParameters
    """Of all its images in the order of `positions`, on the CPU."""
    mixes: tuple[Mix | None, ...]
    """One a step."""


def size_of_epoch(labels: torch.Tensor, settings: TrainingSettings) -> EpochSize:
    """Return how many whole batches an epoch over these training labels has; at least one."""
    images = epoch_size(labels, settings)
    batch_size = min(settings.batch_size, images)
    return EpochSize(steps=max(1, images // batch_size), batch_size=batch_size)


def draw_plan(labels: torch.Tensor, settings: TrainingSettings, generator: torch.Generator) -> EpochPlan:
    """Draw one epoch.

    Parameters
    ----------
    labels : (n,) int64 tensor
        Classes of the training images, on the CPU.
    settings : TrainingSettings
        Resampling, augmentation, mixing and batch size.
    generator : torch.Generator
        A CPU generator.
    """
    size = size_of_epoch(labels, settings)
    positions = draw_epoch(labels, settings, generator)[: size.images].reshape(size.steps, size.batch_size)
    parameters = draw_parameters(size.images, settings.augmentation, generator)
    rng = np.random.default_rng(int(torch.randint(2**31 - 1, (1,), generator=generator)))
    mixes = tuple(draw_mix(size.batch_size, settings.image_size, settings, rng) for _ in range(size.steps))
    return EpochPlan(positions=positions, parameters=parameters, mixes=mixes)
