"""Tests whether two models differ on the same data, one function a test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, norm, t

from cv_folds.arrays import BoolArray, FloatArray, IntArray
from reports.delong import correlated_areas
from reports.intervals import LEVEL, SAME_WITHIN
from reports.results import Estimate

ONE_FOLD = "the test needs at least two folds"
"""Why nothing is tested over the folds of a hold-out or of predictions that were not divided."""


@dataclass(frozen=True, kw_only=True)
class PairedOutcome:
    """What a test of two models gives."""

    difference: Estimate
    """First model minus second."""
    statistic: float | None
    """Of the test; None when it cannot be made."""
    p: float | None
    """Two-sided; None when the test cannot be made."""
    reason: str | None = None
    """Why `p` is None."""


def not_tested(reason: str, difference: float | None = None) -> PairedOutcome:
    """Return the outcome of a test that cannot be made."""
    return PairedOutcome(difference=Estimate(value=difference, reason=reason), statistic=None, p=None, reason=reason)


def without_spread(reason: str, difference: float) -> PairedOutcome:
    """Return the outcome for a difference that does not vary.

    Parameters
    ----------
    reason : str
        Why there is no interval.
    difference : float
        First model minus second.

    Returns
    -------
    PairedOutcome
        With p = 1 when there is no difference at all: nothing could speak less for one. Otherwise the test cannot be
        made.
    """
    if abs(difference) > SAME_WITHIN:
        return not_tested(reason, difference)
    return PairedOutcome(difference=Estimate(value=0.0, reason=reason), statistic=0.0, p=1.0)


def delong_test(first: FloatArray, second: FloatArray, positive: BoolArray, clusters: IntArray) -> PairedOutcome:
    """Compare two areas under the ROC curve.

    Parameters
    ----------
    first, second : (n,) array of float64
        Scores of the two models.
    positive : (n,) array of bool
        Which images are of the class.
    clusters : (n,) array of int64
        Numbers from 0 of the lesions: their images are not taken as independent.

    Returns
    -------
    PairedOutcome
        With the standard normal statistic z and the normal interval of the difference. See
        `reports.delong.correlated_areas`.
    """
    if not positive.any() or positive.all():
        return not_tested(f"no image of a {'benign' if positive.any() else 'malignant'} class")
    areas = correlated_areas(np.stack([first, second]), positive, clusters)
    difference = float(areas.auc[0] - areas.auc[1])
    contrast = np.array([1.0, -1.0])
    variance = float(contrast @ areas.covariance @ contrast)
    if np.isnan(variance):
        return not_tested("the test needs at least two malignant and two benign lesions", difference)
    return normal_test(difference, variance, without="the difference has no variance")


def normal_test(difference: float, variance: float, *, without: str) -> PairedOutcome:
    """Hold a difference against its standard error.

    Parameters
    ----------
    difference : float
        First model minus second.
    variance : float
        Of the difference.
    without : str
        Why there is no interval when `variance` is 0.

    Returns
    -------
    PairedOutcome
        With the standard normal statistic z and the normal interval of the difference.
    """
    if variance <= SAME_WITHIN**2:
        return without_spread(without, difference)
    error = variance**0.5
    z = difference / error
    half = float(norm.ppf((1 + LEVEL) / 2)) * error
    return PairedOutcome(
        difference=Estimate(value=difference, low=difference - half, high=difference + half),
        statistic=z,
        p=float(2 * norm.sf(abs(z))),
    )


def mcnemar_test(first_right: BoolArray, second_right: BoolArray, difference: Estimate) -> PairedOutcome:
    """Compare how often two models are right, on the units that just one of them has right.

    Parameters
    ----------
    first_right, second_right : (n,) array of bool
        Where each of the two models is right.
    difference : Estimate
        Of their accuracies, with an interval from elsewhere: the exact test has none.

    Returns
    -------
    PairedOutcome
        The exact binomial test (McNemar, Psychometrika 12 (1947) 153-157). The statistic is the number of units that
        only the first model has right; without any that just one of them has right, p is 1.
    """
    only_first = int((first_right & ~second_right).sum())
    only_second = int((second_right & ~first_right).sum())
    if not only_first + only_second:
        return PairedOutcome(difference=difference, statistic=0.0, p=1.0)
    p = float(binomtest(only_first, only_first + only_second, 0.5).pvalue)
    return PairedOutcome(difference=difference, statistic=float(only_first), p=p)


def corrected_t_test(differences: FloatArray, test_over_train: float) -> PairedOutcome:
    """Compare two models over the folds of a cross-validation.

    Parameters
    ----------
    differences : (k,) array of float64
        First model minus second, in each fold; NaN where undefined.
    test_over_train : float
        Images of a fold over images outside it.

    Returns
    -------
    PairedOutcome
        With t on k - 1 degrees of freedom. The folds share most of their training images, so the variance of their mean
        is taken as (1/k + `test_over_train`) times that of a fold: Nadeau and Bengio, Inference for the generalization
        error, Mach. Learn. 52 (2003) 239-281. Unlike the other tests, it has the variation of training in it.
    """
    k = len(differences)
    if k < 2:
        return not_tested(ONE_FOLD)
    if np.isnan(differences).any():
        return not_tested("undefined in a fold")
    mean = float(differences.mean())
    error = float(np.sqrt((1 / k + test_over_train) * differences.var(ddof=1)))
    if error <= SAME_WITHIN:
        return without_spread("the difference is the same in every fold", mean)
    statistic = mean / error
    half = float(t.ppf((1 + LEVEL) / 2, k - 1)) * error
    return PairedOutcome(
        difference=Estimate(value=mean, low=mean - half, high=mean + half),
        statistic=statistic,
        p=float(2 * t.sf(abs(statistic), k - 1)),
    )
