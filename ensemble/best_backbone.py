"""The one backbone that a small predictor is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import log_loss

from cv_folds.errors import DataError
from ensemble.predictions import Predictions


@dataclass(frozen=True, kw_only=True)
class BestBackbone:
    """The backbone with the least log-loss."""

    name: str
    """Which."""
    log_loss: float
    """Of its probabilities for images that its networks and its calibrator had not seen, in nats an image."""
    among: int
    """How many backbones there were."""


def best_backbone(predictions: Predictions) -> BestBackbone:
    """Choose by the cross-fitted log-loss; the first of equals.

    Parameters
    ----------
    predictions : Predictions
        Of a run, calibrated.

    Raises
    ------
    DataError
        When they hold no backbone.

    Notes
    -----
    The choice flatters the chosen one a little: its loss is the least of several on the same images.
    """
    classes = np.arange(len(predictions.classes))
    losses = {
        name: float(log_loss(predictions.labels, predictions.probabilities[name], labels=classes))
        for name, kind in predictions.kinds.items()
        if kind == "backbone"
    }
    if not losses:
        raise DataError("the predictions hold no backbone to choose from")
    name = min(losses, key=losses.__getitem__)
    return BestBackbone(name=name, log_loss=losses[name], among=len(losses))
