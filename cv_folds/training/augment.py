"""Random flips, rotation, zoom, shift and colour for a whole batch at once, on the device that holds it.

Geometry is one affine resampling and colour is one 3 x 4 matrix an image, with the normalisation folded in, so that
the cost does not grow with the number of transforms. The random numbers are drawn on the CPU from a passed generator:
the same on every device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import lru_cache

import torch
from torch.nn import functional

from cv_folds.training.pixels import Normalisation, mean_and_std
from cv_folds.training.settings import AugmentationSettings

# ITU-R BT.601 luma, the grey of torchvision's colour transforms.
_GREY = (0.2989, 0.587, 0.114)


@dataclass(frozen=True, kw_only=True)
class AugmentationParameters:
    """What is done to each image of a batch; every tensor has shape (n,), dtype float32."""

    flip_x: torch.Tensor
    """-1 for a left-right flip, else 1."""
    flip_y: torch.Tensor
    """-1 for an upside-down flip, else 1."""
    angle: torch.Tensor
    """Rotation in radians, counter-clockwise as seen on the screen."""
    scale: torch.Tensor
    """Above 1 the image appears larger."""
    shift_x: torch.Tensor
    """Translation to the right, as a share of the image side."""
    shift_y: torch.Tensor
    """Translation downwards, as a share of the image side."""
    brightness: torch.Tensor
    """Factor on every channel; 1 changes nothing."""
    contrast: torch.Tensor
    """Factor on the distance from the image's mean grey."""
    saturation: torch.Tensor
    """Factor on the distance from each pixel's grey."""

    def to(self, device: torch.device) -> AugmentationParameters:
        """Return the same parameters on a device."""
        return AugmentationParameters(
            **{field.name: getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)}
        )

    def rows(self, which: slice) -> AugmentationParameters:
        """Return the parameters of some images, in order."""
        return AugmentationParameters(**{field.name: getattr(self, field.name)[which] for field in fields(self)})


def draw_parameters(n: int, settings: AugmentationSettings, generator: torch.Generator) -> AugmentationParameters:
    """Draw the parameters of `n` images from a CPU generator."""

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.rand(n, generator=generator) * (high - low) + low

    def sign(probability: float) -> torch.Tensor:
        return 1 - 2 * (torch.rand(n, generator=generator) < probability).float()

    angle = math.radians(settings.rotation)
    zoom = math.log1p(settings.zoom)
    return AugmentationParameters(
        flip_x=sign(settings.horizontal_flip),
        flip_y=sign(settings.vertical_flip),
        angle=uniform(-angle, angle),
        scale=uniform(-zoom, zoom).exp(),
        shift_x=uniform(-settings.shift, settings.shift),
        shift_y=uniform(-settings.shift, settings.shift),
        brightness=uniform(1 - settings.brightness, 1 + settings.brightness),
        contrast=uniform(1 - settings.contrast, 1 + settings.contrast),
        saturation=uniform(1 - settings.saturation, 1 + settings.saturation),
    )


def augment(pixels: torch.Tensor, parameters: AugmentationParameters, normalisation: Normalisation) -> torch.Tensor:
    """Change a batch and normalise it.

    Parameters
    ----------
    pixels : (n, size, size, 3) uint8 tensor
        RGB images.
    parameters : AugmentationParameters
        One value an image; best on the device of `pixels` already.
    normalisation : Normalisation
        Applied last, after clamping to the range of pixels.

    Returns
    -------
    (n, 3, size, size) float32 tensor
        On the device of `pixels`. What a rotation uncovers is filled by reflection.
    """
    moved = resample(pixels.permute(0, 3, 1, 2).float(), parameters)
    return recolour(moved, parameters, normalisation)


def resample(images: torch.Tensor, parameters: AugmentationParameters) -> torch.Tensor:
    """Flip, rotate, zoom and shift (n, 3, size, size) float32 images, bilinearly, filling by reflection."""
    theta = affine_matrices(parameters).to(images.device, non_blocking=True)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def affine_matrices(parameters: AugmentationParameters) -> torch.Tensor:
    """Return the (n, 2, 3) float32 matrices that map output positions to input positions, both in -1..1."""
    cos, sin = parameters.angle.cos(), parameters.angle.sin()
    across, down = 2 * parameters.shift_x, 2 * parameters.shift_y
    # Output to input is the inverse of: flip, then turn and scale, then shift. The y axis points down.
    inverse = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    inverse = inverse / parameters.scale[:, None, None]
    inverse = torch.stack([parameters.flip_x, parameters.flip_y], 1)[:, :, None] * inverse
    offset = -(inverse @ torch.stack([across, down], 1)[:, :, None])
    return torch.cat([inverse, offset], dim=2)


def recolour(images: torch.Tensor, parameters: AugmentationParameters, normalisation: Normalisation) -> torch.Tensor:
    """Change brightness, then contrast, then saturation, clamp to 0..255, and normalise.

    Parameters
    ----------
    images : (n, 3, size, size) float32 tensor
        Values from 0 to 255.
    parameters : AugmentationParameters
        The colour factors.
    normalisation : Normalisation
        Folded into the matrix; the clamp happens in normalised units.

    Returns
    -------
    (n, 3, size, size) float32 tensor
    """
    device = images.device
    grey, identity = _constants(device)
    brightness, contrast, saturation = (
        factor.to(device, non_blocking=True)[:, None]
        for factor in (parameters.brightness, parameters.contrast, parameters.saturation)
    )
    mean_grey = (images.mean(dim=(2, 3)) @ grey)[:, None] * brightness
    # Each pixel x becomes: saturation * c + (1 - saturation) * grey(c), with c = contrast * brightness * x + rest.
    gain = (contrast * brightness)[:, :, None]
    mixing = gain * (saturation[:, :, None] * identity + (1 - saturation)[:, :, None] * grey)
    # The greys sum to 0.9999, not to 1: the constant part goes through the same mixing as the pixels.
    rest = (1 - contrast) * mean_grey * (saturation + (1 - saturation) * grey.sum())
    mean, std = mean_and_std(normalisation, device)
    matrix = mixing / std[:, None]
    offset = (rest - mean) / std
    n, channels, height, width = images.shape
    changed = torch.baddbmm(offset[:, :, None], matrix, images.reshape(n, channels, height * width))
    low, high = -mean / std, (255 - mean) / std
    return changed.reshape(n, channels, height, width).clamp_(low[:, None, None], high[:, None, None])


@lru_cache
def _constants(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(_GREY, device=device), torch.eye(3, device=device)
