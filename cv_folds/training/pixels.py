"""From `uint8` pixels to what a network takes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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


@lru_cache
def mean_and_std(normalisation: Normalisation, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the (3,) float32 means and deviations for pixels of 0..255.

    Made once a device: copying constants to a GPU at every step would make the host wait for it.
    """
    # Imported when needed: what reads a finished run does without the seconds and the memory of torch.
    import torch

    mean = torch.tensor(normalisation.mean, device=device) * 255
    std = torch.tensor(normalisation.std, device=device) * 255
    return mean, std


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
    mean, std = mean_and_std(normalisation, pixels.device)
    return ((pixels.float() - mean) / std).permute(0, 3, 1, 2)
