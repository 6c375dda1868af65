"""From a file of weights to a network that predicts."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from cv_folds.errors import DataError
from cv_folds.training.backbone_names import is_timm
from cv_folds.training.backbones import build_backbone
from cv_folds.training.state_dict import load_tensors
from ensemble.batch_norm import fold_batch_norm
from ensemble.weights_file import read_weights


def load_network(path: Path, sha256: str, *, backbone: str, n_classes: int, image_size: int) -> nn.Module:
    """Read a trained network.

    Parameters
    ----------
    path : Path
        A safetensors file; half the digits may be stored.
    sha256 : str
        What its checksum must be: it is read later than the bundle is checked, and a run may be repeated meanwhile.
    backbone : str
        Name in the backbone registry.
    n_classes : int
        Number of logits.
    image_size : int
        Side of the images in pixels.

    Returns
    -------
    nn.Module
        On the CPU, in float32 and channels-last order, in evaluation mode, without gradients, with batch normalisation
        folded into the convolutions.

    Raises
    ------
    DataError
        When the file was changed, or holds other weights.
    """
    weights = read_weights(path, sha256)
    for name, value in weights.items():
        if value.is_floating_point():
            weights[name] = value.float()
    network = _build(backbone, n_classes, image_size)
    try:
        load_tensors(network, weights, assign=True)
    except RuntimeError as error:
        raise DataError(f"{path} does not hold the weights of {backbone}: {error}") from error
    network = network.eval().requires_grad_(False)
    # Each tensor goes when its copy in another form is there.
    weights.clear()
    fold_batch_norm(network)
    return network.to(memory_format=torch.channels_last)


def _build(backbone: str, n_classes: int, image_size: int) -> nn.Module:
    """Make a network whose weights are to be replaced; the caller's random numbers do not notice."""
    with torch.random.fork_rng(devices=[]):
        if is_timm(backbone):
            # timm keeps tables that are not among the weights: they need their values.
            return build_backbone(backbone, n_classes, image_size=image_size)
        try:
            # Without memory or random numbers for weights that go at once.
            with torch.device("meta"):
                return build_backbone(backbone, n_classes, image_size=image_size)
        except NotImplementedError:
            # RegNets compute with their first weights while they are built.
            return build_backbone(backbone, n_classes, image_size=image_size)
