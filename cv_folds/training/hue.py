"""Turning the hue of a whole batch at once.

A matrix on the colours, as for brightness, contrast and saturation, would turn about the grey axis and change the
brightest channel with it. Hue in the sense of HSV, as torchvision's, keeps the largest and the least channel.
"""

from __future__ import annotations

import torch


def shift_hue(images: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
    """Turn the hue of every image.

    Parameters
    ----------
    images : (n, 3, size, size) float32 tensor
        RGB from 0 to 1.
    shifts : (n,) float32 tensor
        Shares of the colour circle.

    Returns
    -------
    (n, 3, size, size) float32 tensor
        With the value and saturation (of HSV) of `images`.
    """
    value, brightest = images.max(dim=1)
    chroma = value - images.amin(dim=1)
    red, green, blue = images.unbind(1)
    # In sixths of the circle, from red: the position between the two other channels, around the brightest one.
    sector = torch.where(brightest == 0, green - blue, torch.where(brightest == 1, blue - red, red - green))
    hue = sector / chroma.clamp(min=1e-12) + 2 * brightest
    turned = hue + 6 * shifts.to(images.device, non_blocking=True)[:, None, None]
    channels = []
    for offset in (5, 3, 1):
        place = (turned + offset) % 6
        channels.append(value - chroma * torch.minimum(place, 4 - place).clamp(0, 1))
    return torch.stack(channels, dim=1)
