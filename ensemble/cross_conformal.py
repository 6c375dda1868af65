"""Prediction sets of images whose own fold did not calibrate them, and how often these hold the true class."""

from __future__ import annotations

import numpy as np

from cv_folds.arrays import BoolArray, FloatArray, IntArray, StrArray
from ensemble.conformal import calibrate_sets
from ensemble.settings import SetMethod


def held_out_sets(
    probabilities: FloatArray,
    labels: IntArray,
    groups: StrArray,
    folds: IntArray,
    *,
    coverage: float,
    method: SetMethod,
) -> BoolArray:
    """Return the sets of every fold at the thresholds that the other folds give.

    Parameters
    ----------
    probabilities : (n, n_classes) float64
        Cross-fitted, calibrated probabilities.
    labels : (n,) int
        True class numbers.
    groups : (n,) str
        The lesion of each row; none is in two folds.
    folds : (n,) int
        The fold of each row, at least two different ones.
    coverage : float
        Aimed at.
    method : {"lac", "class_conditional"}
        See `calibrate_sets`.

    Returns
    -------
    (n, n_classes) bool
        Which classes are in the set of each row. The label of a row has no part in its own thresholds.

    Notes
    -----
    Thresholds from the other folds, applied to the fold that is left out: the folds of cross-conformal prediction
    (Vovk, "Cross-conformal predictors", Annals of Mathematics and Artificial Intelligence 74, 2015), used here to
    check the coverage and not to pool ranks.
    """
    inside = np.zeros(probabilities.shape, dtype=np.bool_)
    for fold in np.unique(folds):
        out = folds == fold
        sets = calibrate_sets(probabilities[~out], labels[~out], groups[~out], coverage=coverage, method=method)
        inside[out] = sets.members(probabilities[out])
    return inside
