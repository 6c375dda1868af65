"""What an image looks like in a few dozen numbers that need no network: its colours, and its texture at several scales.

Features of a network that learned to tell lesions apart say little about what no lesion has: a black image, noise or a
landscape may lie near the mean of the training images. Statistics of colours and gradients differ there at once.
"""

from __future__ import annotations

import torch
from torch.nn.functional import adaptive_avg_pool2d

MOST_SCALES = 4
"""The image itself, and halved once to three times."""

LEAST_SIDE = 4
"""Side in pixels of the smallest image whose gradients are looked at."""

_STEP = 1 / 255
"""Differences below one step of the pixels' values are none: added before a logarithm is taken."""


def appearance_of(pixels: torch.Tensor) -> torch.Tensor:
    """Describe images by their colours and their texture.

    Parameters
    ----------
    pixels : (n, size, size, 3) uint8 tensor
        RGB images; `size` at least 4.

    Returns
    -------
    (n, d) float32 tensor
        d depends on `size` alone: 38 from 32 pixels up. Mean colours of the middle ninth and of what surrounds it, the
        contrast between the eighths around it, standard deviations of red, green, blue and of two opponent colours,
        and, for brightness and opponent colours at each scale, the mean absolute gradient and how much of it is in few
        places. All but the mean colours as logarithms. Quarter turns and mirror images are described alike, where
        halving leaves no remainder.
    """
    # Channel by channel in memory: nearly everything below runs along the rows of one channel.
    colours = pixels.permute(0, 3, 1, 2).contiguous().float() / 255
    red, green, blue = colours.unbind(dim=1)
    opponents = torch.stack([red - green, (red + green) / 2 - blue], dim=1)
    cells = adaptive_avg_pool2d(colours, 3).flatten(2)
    around = cells[:, :, [0, 1, 2, 3, 5, 6, 7, 8]]
    found = [
        cells[:, :, 4],
        around.mean(dim=2),
        _log(_deviation(around)),
        _log(_deviation(colours.flatten(2))),
        _log(_deviation(opponents.flatten(2))),
    ]
    planes = torch.cat([colours.mean(dim=1, keepdim=True), opponents], dim=1)
    for scale in range(MOST_SCALES):
        if scale:
            planes = _halved(planes)
        if planes.shape[-1] < LEAST_SIDE:
            break
        found += _texture(planes)
    return torch.cat(found, dim=1)


def _texture(planes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logarithms of the mean absolute gradient, and of its root mean square in relation to that."""
    across = (planes[..., :, 1:] - planes[..., :, :-1]).abs_().flatten(2)
    down = (planes[..., 1:, :] - planes[..., :-1, :]).abs_().flatten(2)
    mean = (across.mean(dim=2) + down.mean(dim=2)) / 2
    root = ((across.square_().mean(dim=2) + down.square_().mean(dim=2)) / 2).sqrt()
    return _log(mean), _log(root) - _log(mean)


def _halved(planes: torch.Tensor) -> torch.Tensor:
    """Return the means of squares of two by two, an odd last row or column left out; as `avg_pool2d`, but faster."""
    height, width = (side // 2 * 2 for side in planes.shape[-2:])
    rows = planes[..., 0:height:2, :width] + planes[..., 1:height:2, :width]
    return (rows[..., 0::2] + rows[..., 1::2]) / 4


def _deviation(values: torch.Tensor) -> torch.Tensor:
    # In two passes: torch's own took most of the time of all this on a CPU.
    return (values - values.mean(dim=2, keepdim=True)).square_().mean(dim=2).sqrt_()


def _log(values: torch.Tensor) -> torch.Tensor:
    return (values + _STEP).log()
