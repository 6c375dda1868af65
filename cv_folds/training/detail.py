"""Blur, sharpness and erased rectangles for a whole batch at once, on the device that holds it."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch.nn import functional

ERASING_TRIES = 10
"""Rectangles drawn for an image until one fits into it; when none does, nothing is erased, as in torchvision."""


def draw_blur(n: int, probability: float, sigma: tuple[float, float], generator: torch.Generator) -> torch.Tensor:
    """Draw the (n, taps) float32 kernels of `blur`, on the CPU; they reach three of the largest deviations far.

    Where an image stays as it is, its kernel is 1 in the middle and 0 elsewhere.
    """
    low, high = sigma
    chosen = torch.rand(n, generator=generator) < probability
    sigmas = torch.rand(n, generator=generator) * (high - low) + low
    kernels = gaussian_kernels(sigmas, math.ceil(3 * high))
    still = torch.zeros_like(kernels[0])
    still[len(still) // 2] = 1
    return torch.where(chosen[:, None], kernels, still)


def gaussian_kernels(sigmas: torch.Tensor, radius: int) -> torch.Tensor:
    """Return (n, 2 * radius + 1) float32 weights that sum to 1, for (n,) deviations in pixels."""
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernels = torch.exp(-0.5 * (offsets / sigmas[:, None]) ** 2)
    return kernels / kernels.sum(dim=1, keepdim=True)


def blur(images: torch.Tensor, kernels: torch.Tensor) -> torch.Tensor:
    """Blur every image along both axes by its own kernel; what lies outside is the reflection.

    Parameters
    ----------
    images : (n, channels, size, size) float32 tensor
        Any range of values.
    kernels : (n, taps) float32 tensor
        As from `draw_blur`, with fewer than ``2 * size`` taps.

    Returns
    -------
    (n, channels, size, size) float32 tensor
    """
    n, channels, height, _ = images.shape
    if images.device.type == "cpu":
        # On another device, to ask which would make the host wait.
        which = kernels[:, kernels.shape[1] // 2] < 1
        if not which.all():
            blurred = images.clone()
            if which.any():
                blurred[which] = blur(images[which], kernels[which])
            return blurred
    radius = kernels.shape[1] // 2
    weights = kernels.to(images.device, non_blocking=True).repeat_interleave(channels, dim=0)
    padded = functional.pad(images, [radius] * 4, mode="reflect").reshape(1, n * channels, height + 2 * radius, -1)
    across = functional.conv2d(padded, weights[:, None, None, :], groups=n * channels)
    return functional.conv2d(across, weights[:, None, :, None], groups=n * channels).reshape(images.shape)


def draw_sharpness(n: int, probability: float, factor: tuple[float, float], generator: torch.Generator) -> torch.Tensor:
    """Draw (n,) float32 factors for `sharpen`, on the CPU; 1 where an image stays as it is."""
    low, high = factor
    chosen = torch.rand(n, generator=generator) < probability
    factors = torch.rand(n, generator=generator) * (high - low) + low
    return torch.where(chosen, factors, torch.ones(()))


def sharpen(images: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Multiply the difference of every image to its smoothed self by a factor, as torchvision's `adjust_sharpness`.

    Parameters
    ----------
    images : (n, channels, size, size) float32 tensor
        Values from 0 to 1.
    factors : (n,) float32 tensor
        0 smooths, 1 changes nothing, 2 doubles the detail.

    Returns
    -------
    (n, channels, size, size) float32 tensor
        From 0 to 1; the outermost pixels are those of `images`.
    """
    channels = images.shape[1]
    smooth = images.clone()
    kernel = _smoothing(images.device).expand(channels, 1, 3, 3)
    smooth[:, :, 1:-1, 1:-1] = functional.conv2d(images, kernel, groups=channels)
    return smooth.lerp(images, factors.to(images.device, non_blocking=True)[:, None, None, None]).clamp_(0, 1)


def draw_boxes(
    n: int, probability: float, area: tuple[float, float], ratio: tuple[float, float], generator: torch.Generator
) -> torch.Tensor:
    """Draw (n, 4) float32 rectangles for `erase`, on the CPU: all 0 where nothing is erased."""

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.rand(n, ERASING_TRIES, generator=generator) * (high - low) + low

    chosen = torch.rand(n, generator=generator) < probability
    areas, ratios = uniform(*area), uniform(math.log(ratio[0]), math.log(ratio[1])).exp()
    heights, widths = (areas * ratios).sqrt(), (areas / ratios).sqrt()
    tops, lefts = uniform(0, 1) * (1 - heights), uniform(0, 1) * (1 - widths)
    fits = (heights < 1) & (widths < 1)
    # The first that fits.
    first = fits.int().argmax(dim=1, keepdim=True)
    boxes = torch.stack([tops, lefts, tops + heights, lefts + widths], dim=2)
    taken = boxes.gather(1, first[:, :, None].expand(n, 1, 4))[:, 0]
    return torch.where((chosen & fits.any(dim=1))[:, None], taken, torch.zeros(()))


def erase_(images: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Set a rectangle of every image to 0, in place.

    Parameters
    ----------
    images : (n, channels, size, size) float32 tensor
        Normalised, so that 0 is the mean colour.
    boxes : (n, 4) float32 tensor
        Top, left, bottom, right as shares of the side; pixels whose centre lies inside are erased.
    """
    height, width = images.shape[2:]
    top, left, bottom, right = boxes.to(images.device, non_blocking=True)[:, :, None].unbind(1)
    down = (torch.arange(height, device=images.device) + 0.5) / height
    across = (torch.arange(width, device=images.device) + 0.5) / width
    rows, columns = (down >= top) & (down < bottom), (across >= left) & (across < right)
    return images.masked_fill_((rows[:, :, None] & columns[:, None, :])[:, None], 0)


@lru_cache
def _smoothing(device: torch.device) -> torch.Tensor:
    return torch.tensor([[1.0, 1.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.0, 1.0]], device=device) / 13
