"""What training makes small."""

from __future__ import annotations

import torch
from torch.nn import functional

from cv_folds.training.settings import TrainingSettings


def image_losses(
    logits: torch.Tensor, targets: torch.Tensor, settings: TrainingSettings, weights: torch.Tensor | None
) -> torch.Tensor:
    """Return the (n,) float32 loss of each image.

    Parameters
    ----------
    logits : (n, n_classes) float32 tensor
        Outputs of the network.
    targets : (n,) int64 tensor
        The classes.
    settings : TrainingSettings
        Kind of loss and label smoothing.
    weights : (n_classes,) float32 tensor or None
        Factor on the loss of an image of each class; None for none.
    """
    smoothing = settings.label_smoothing
    if settings.loss == "focal":
        losses = focal_losses(logits, targets, gamma=settings.focal_gamma, label_smoothing=smoothing)
    else:
        losses = functional.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")
    return losses if weights is None else weights[targets] * losses


def focal_losses(
    logits: torch.Tensor, targets: torch.Tensor, *, gamma: float, label_smoothing: float = 0.0
) -> torch.Tensor:
    """Return the (n,) focal losses: ``-(1 - p) ** gamma * log(p)`` of the probability p of the true class.

    With label smoothing, the mean of that over all classes in the shares of the smoothed target. `gamma` 0 gives the
    cross-entropy (Lin, Goyal, Girshick, He, Dollár, "Focal loss for dense object detection", ICCV 2017; without their
    factor alpha, for which there are class weights).
    """
    logs = logits.log_softmax(dim=1)
    # Where a probability rounds to 1, a power below 1 would have an infinite slope.
    doubt = (-torch.expm1(logs)).clamp(min=torch.finfo(logs.dtype).tiny)
    losses = -(doubt**gamma) * logs
    true = losses.gather(1, targets[:, None])[:, 0]
    return (1 - label_smoothing) * true + label_smoothing * losses.mean(dim=1)
