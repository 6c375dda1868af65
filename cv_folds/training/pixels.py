"""From `uint8` pixels to what a network takes."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """Channel means and standard deviations, for pixels scaled to 0..1."""

    mean: tuple[float, float, float]
    """Subtracted, in RGB order."""
    std: tuple[float, float, float]
    """Divided by, in RGB order."""


IMAGENET = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""What torchvision's ImageNet weights were trained with."""


def normalise(pixels: torch.Tensor, normalisation: Normalisation) -> torch.Tensor:
    """Scale, shift and reorder pixels.

    Parameters
    ----------
    pixels : (n, height, width, 3) uint8 tensor
        RGB images.
    normalisation : Normalisation
        Means and deviations.

    Returns
    -------
    (n, 3, height, width) float32 tensor
        In channels-last memory order, on the device of `pixels`.
    """
    mean = torch.tensor(normalisation.mean, device=pixels.device) * 255
    std = torch.tensor(normalisation.std, device=pixels.device) * 255
    return ((pixels.float() - mean) / std).permute(0, 3, 1, 2)
