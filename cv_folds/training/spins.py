"""Random flips and turns under which images are predicted several times: repeated test-time augmentation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from cv_folds.training.augment import AugmentationParameters, augment, draw_parameters
from cv_folds.training.pixels import Normalisation
from cv_folds.training.settings import AugmentationSettings

_SPINNING = AugmentationSettings(
    horizontal_flip=0.5,
    vertical_flip=0.5,
    rotation=180.0,
    zoom=0.0,
    shift=0.0,
    brightness=0.0,
    contrast=0.0,
    saturation=0.0,
)


@dataclass(frozen=True, kw_only=True)
class Spins:
    """How each of some images is flipped and turned, several times; on the CPU."""

    rounds: tuple[AugmentationParameters, ...]
    """One a repetition, each of all images in order."""

    def of(self, pixels: torch.Tensor, positions: torch.Tensor, normalisation: Normalisation) -> Iterator[torch.Tensor]:
        """Yield some images once a repetition.

        Parameters
        ----------
        pixels : (m, size, size, 3) uint8 tensor
            The images.
        positions : (m,) int64 tensor
            Which of all images they are, one after the other; on the CPU.
        normalisation : Normalisation
            Of the pixels.

        Yields
        ------
        (m, 3, size, size) float32 tensor
        """
        which = slice(int(positions[0]), int(positions[-1]) + 1)
        for parameters in self.rounds:
            yield augment(pixels, parameters.rows(which).to(pixels.device), normalisation)


def draw_spins(n: int, repetitions: int, generator: torch.Generator) -> Spins | None:
    """Draw flips and turns by up to 180 degrees of `n` images; without repetitions, draw nothing and return None.

    Parameters
    ----------
    n : int
        Images.
    repetitions : int
        How often each is shown.
    generator : torch.Generator
        A CPU generator.
    """
    if not repetitions:
        return None
    return Spins(rounds=tuple(draw_parameters(n, _SPINNING, generator) for _ in range(repetitions)))
