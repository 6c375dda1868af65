"""How good logits are apart from how sure they are: the measure by which the epoch is chosen.

A network that trains on becomes too sure of itself: its loss rises while it still learns to tell the classes apart.
How sure it is, is set right afterwards by calibration, so that an early epoch chosen by the plain loss gives away what
the later ones have learnt.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from cv_folds.arrays import FloatArray

# Temperatures from 1/50 to 50: beyond them logits are noise, and the loss is flat.
_LOG_RANGE = (-np.log(50.0), np.log(50.0))


def refinement_loss(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> float:
    """Return the weighted cross-entropy that is left when the temperature suits the logits best.

    Parameters
    ----------
    logits : (n, n_classes) float tensor
        Of the validation images.
    labels : (n,) int64 tensor
        Their classes.
    weights : (n_classes,) float tensor
        How much an image of each class counts.

    Returns
    -------
    float
        In nats; NaN when a logit is not finite.

    Notes
    -----
    The refinement error after temperature scaling: E. Berta, D. Holzmüller, M. Jordan, F. Bach, "Rethinking Early
    Stopping: Refine, Then Calibrate", 2025. The temperature, one number, is fitted on the same images.
    """
    values = logits.double().cpu().numpy()
    if not np.isfinite(values).all():
        return float("nan")
    rows = labels.cpu().numpy()
    shares = weights.double().cpu().numpy()[rows]
    shares = shares / shares.sum()
    best = minimize_scalar(lambda slope: _loss(values * np.exp(slope), rows, shares), bounds=_LOG_RANGE)
    return float(best.fun)


def _loss(logits: FloatArray, labels: np.ndarray[tuple[int], np.dtype[np.int64]], shares: FloatArray) -> float:
    return float(shares @ (logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]))
