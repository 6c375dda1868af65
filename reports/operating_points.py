"""Thresholds that keep a sensitivity or a specificity on all images."""

from __future__ import annotations

from typing import Literal

import numpy as np

from cv_folds.arrays import BoolArray, FloatArray
from reports.levels import OperatingPoint
from reports.malignant import OPERATING_PERCENTS


def operating_points(score: FloatArray, malignant: BoolArray) -> tuple[OperatingPoint, ...]:
    """Find the thresholds.

    Parameters
    ----------
    score : (n,) array of float64
        Summed probability of the malignant classes.
    malignant : (n,) array of bool
        Which images are malignant.

    Returns
    -------
    tuple of OperatingPoint
        For each percentage the highest threshold with that sensitivity, and the threshold with the highest sensitivity
        among those with that specificity. Empty without malignant or without benign images. They are chosen on the
        images that they are measured on: on others, the demand may be missed.
    """
    n_malignant, n_benign = int(malignant.sum()), int((~malignant).sum())
    if not n_malignant or not n_benign:
        return ()
    # Between two scores of malignant images, the higher threshold has no fewer hits and no more false alarms.
    thresholds = np.unique(score[malignant])[::-1]
    found = n_malignant - np.searchsorted(np.sort(score[malignant]), thresholds)
    alarms = n_benign - np.searchsorted(np.sort(score[~malignant]), thresholds)

    def point(demand: Literal["sensitivity", "specificity"], percent: int, index: int) -> OperatingPoint:
        none = index < 0
        return OperatingPoint(
            demand=demand,
            percent=percent,
            threshold=None if none else float(thresholds[index]),
            sensitivity=0.0 if none else float(found[index] / n_malignant),
            specificity=1.0 if none else float(1 - alarms[index] / n_benign),
        )

    kept = {percent: 100 * alarms <= (100 - percent) * n_benign for percent in OPERATING_PERCENTS}
    missed = {percent: 100 * found < percent * n_malignant for percent in OPERATING_PERCENTS}
    return (
        *(point("specificity", percent, int(kept[percent].sum()) - 1) for percent in OPERATING_PERCENTS),
        *(point("sensitivity", percent, int(missed[percent].sum())) for percent in OPERATING_PERCENTS),
    )
