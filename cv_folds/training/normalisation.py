"""Which channel means and deviations a job normalises by."""

from __future__ import annotations

import math

import torch

from cv_folds.training.backbone_names import is_timm
from cv_folds.training.pixels import IMAGENET, Normalisation
from cv_folds.training.settings import TrainingSettings
from cv_folds.training.timm_backbones import own_normalisation
from cv_folds.training.view import ImageView

# Of a channel that is the same in all images, which cannot be divided by its deviation: one level of 255.
_LEAST_DEVIATION = 1 / 255

_IMAGES_AT_A_TIME = 64


def choose_normalisation(
    settings: TrainingSettings, train: ImageView, usual: Normalisation = IMAGENET
) -> Normalisation:
    """Return the usual normalisation or that of the training images, as the settings say.

    Parameters
    ----------
    settings : TrainingSettings
        ``normalisation`` decides.
    train : ImageView
        The images that the weights are fitted on; nothing else is seen.
    usual : Normalisation
        What ``imagenet`` stands for.
    """
    return measure_normalisation(train) if settings.normalisation == "data" else usual


def usual_normalisation(backbone: str, *, pretrained: bool) -> Normalisation:
    """Return what a backbone's ImageNet weights were trained with: for some of timm's another than ImageNet's own."""
    own = own_normalisation(backbone) if pretrained and is_timm(backbone) else None
    return own or IMAGENET


def measure_normalisation(view: ImageView) -> Normalisation:
    """Return mean and standard deviation of each channel over all pixels of a view's images.

    Counted in whole numbers: the same on every device and in any order. A deviation below one level of 255 counts as
    one.
    """
    counts = torch.zeros(3, 256, dtype=torch.int64)
    for pixels in view.batches(torch.split(torch.arange(len(view)), _IMAGES_AT_A_TIME)):
        channels = pixels.reshape(-1, 3).unbind(1)
        counts += torch.stack([torch.bincount(channel, minlength=256) for channel in channels]).cpu()
    red, green, blue = (_mean_and_deviation(row) for row in counts.tolist())
    return Normalisation(mean=(red[0], green[0], blue[0]), std=(red[1], green[1], blue[1]))


def _mean_and_deviation(counts: list[int]) -> tuple[float, float]:
    """Return both for pixels scaled to 0..1, from how often each of 256 levels occurs."""
    n = sum(counts)
    total = sum(level * count for level, count in enumerate(counts))
    squares = sum(level**2 * count for level, count in enumerate(counts))
    # Python's whole numbers have no end: no digit is lost before the root.
    deviation = math.sqrt(n * squares - total**2) / n / 255
    return total / n / 255, max(deviation, _LEAST_DEVIATION)
