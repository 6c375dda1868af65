"""From the outputs of all members of a bundle to probabilities."""

from __future__ import annotations

from cv_folds.arrays import FloatArray
from ensemble.bundle import Bundle


def probabilities_of(bundle: Bundle, logits: FloatArray) -> FloatArray:
    """Restore the prior, combine and calibrate the members of each fold, then average over folds and views.

    Parameters
    ----------
    bundle : Bundle
        Whose members gave the logits.
    logits : (n, n_views, n_folds, n_backbones, n_classes) float64
        Outputs of all members.

    Returns
    -------
    (n, n_classes) float64
        Rows sum to 1.
    """
    n, n_views, n_folds, *shape = logits.shape
    combined = bundle.model.probabilities(logits.reshape(-1, *shape)).reshape(n, n_views * n_folds, -1)
    probabilities: FloatArray = combined.mean(axis=1)
    return probabilities
