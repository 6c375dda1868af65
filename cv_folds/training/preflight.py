"""Trying a backbone before any job starts: what cannot work shall be said before hours are spent."""

from __future__ import annotations

import torch

from cv_folds.errors import UsageError
from cv_folds.training.backbones import build_backbone
from cv_folds.training.weights import WeightsFile, load_weights


def try_backbone(name: str, n_classes: int, *, image_size: int, weights: WeightsFile | None) -> tuple[str, ...]:
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

    Returns
    -------
    tuple of str
        What a person should know, a line each.

    Raises
    ------
    UsageError
        When the weights do not fit, the network cannot take images of this size, or it cannot be stored.
    """
    with torch.random.fork_rng(devices=[]):
        model = build_backbone(name, n_classes, image_size=image_size)
    places = [value.data_ptr() for value in model.state_dict().values() if value.numel()]
    if len(set(places)) < len(places):
        raise UsageError(
            f"{name} has weights under several names at once, which the files of its training could not hold; choose "
            "another one of --backbones"
        )
    fresh = () if weights is None else load_weights(model, weights)
    model.eval()
    try:
        with torch.inference_mode():
            logits = model(torch.zeros(2, 3, image_size, image_size))
    except (RuntimeError, AssertionError) as error:
        # AssertionError: timm's word for images of another size than the model was built for.
        raise UsageError(f"{name} cannot take {image_size} px images ({error}); give a larger --image-size") from error
    assert logits.shape == (2, n_classes)
    if weights is None or not fresh:
        return ()
    random = sum(parameter.numel() for layer in fresh for parameter in model.get_submodule(layer).parameters())
    share = random / sum(parameter.numel() for parameter in model.parameters())
    return (f"{weights.path} lacks {', '.join(fresh)} of {name}: {share:.0%} of its weights start from random values",)
