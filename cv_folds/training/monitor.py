"""What validation says about an epoch, and which epoch is the better one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from cv_folds.training.refinement import refinement_loss
from cv_folds.training.resampling import aimed_weights, class_weights
from cv_folds.training.settings import Monitor, TrainingSettings


@dataclass(frozen=True, kw_only=True)
class ValidationFigures:
    """How good some weights are on the validation images."""

    loss: float
    """`refinement_loss` at the class shares of training."""
    weighted_loss: float
    """Mean cross-entropy with all classes weighted alike, in nats, at the temperature of the network."""
    balanced_accuracy: float
    """Mean recall over the classes that the images hold."""
    macro_f1: float
    """Mean F1 over these classes."""


def validation_figures(logits: torch.Tensor, labels: torch.Tensor, settings: TrainingSettings) -> ValidationFigures:
    """Judge the (n, n_classes) float32 logits of images with (n,) int64 labels, at least one, all on the CPU."""
    n_classes = logits.shape[1]
    classes = torch.unique(labels)
    chosen = logits.argmax(1)
    hits = (chosen == labels).float()
    recalls = torch.stack([hits[labels == label].mean() for label in classes])
    # F1 is the harmonic mean of precision and recall: 2 TP / (images of the class + images put into it).
    f1 = torch.stack(
        [2 * hits[labels == label].sum() / ((labels == label).sum() + (chosen == label).sum()) for label in classes]
    )
    return ValidationFigures(
        loss=refinement_loss(logits, labels, aimed_weights(labels, n_classes, settings)),
        weighted_loss=float(functional.cross_entropy(logits, labels, weight=class_weights(labels, n_classes))),
        balanced_accuracy=float(recalls.mean()),
        macro_f1=float(f1.mean()),
    )


def shortfall(figures: ValidationFigures, monitor: Monitor) -> float:
    """Return what is less the better the figures are; for ``last``, which chooses no epoch, the refinement loss."""
    match monitor:
        case "weighted_loss":
            return figures.weighted_loss
        case "macro_f1":
            return -figures.macro_f1
        case "balanced_accuracy":
            return -figures.balanced_accuracy
        case "refinement" | "last":
            return figures.loss
