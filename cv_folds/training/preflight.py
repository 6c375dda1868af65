"""Trying a backbone before any job starts: what cannot work shall be said before hours are spent."""

from __future__ import annotations

import torch

from cv_folds.errors import UsageError
from cv_folds.training.backbones import build_backbone
from cv_folds.training.weights import WeightsFile, load_weights


def try_backbone(name: str, n_classes: int, *, image_size: int, weights: WeightsFile | None) -> None:
    """Build a backbone, load its weights and pass two blank images through it, on the CPU.

    Parameters
    ----------
    name : str
        Name of the backbone.
    n_classes : int
        Number of logits.
    image_size : int
        Side of the images in pixels.
    weights : WeightsFile or None
        Where it starts from.

    Raises
    ------
    UsageError
        When the weights do not fit, or the network cannot take images of this size.
    """
    with torch.random.fork_rng(devices=[]):
        model = build_backbone(name, n_classes, image_size=image_size)
    if weights is not None:
        load_weights(model, weights)
    model.eval()
    try:
        with torch.inference_mode():
            logits = model(torch.zeros(2, 3, image_size, image_size))
    except (RuntimeError, AssertionError) as error:
        # AssertionError: timm's word for images of another size than the model was built for.
        raise UsageError(f"{name} cannot take {image_size} px images ({error}); give a larger --image-size") from error
    assert logits.shape == (2, n_classes)
