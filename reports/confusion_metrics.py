"""Metrics that need only the confusion matrix, for many matrices at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cv_folds.arrays import FloatArray


@dataclass(frozen=True, kw_only=True)
class ConfusionMetrics:
    """Metrics of r confusion matrices over c classes; NaN where undefined."""

    accuracy: FloatArray
    """(r,) share of images on the diagonal."""
    balanced_accuracy: FloatArray
    """(r,) mean recall of the classes that have images, as in scikit-learn."""
    macro_f1: FloatArray
    """(r,) mean F1 of all classes; an undefined F1 counts 0 (scikit-learn's ``zero_division=0``)."""
    weighted_f1: FloatArray
    """(r,) mean F1 of all classes, weighted by their number of images."""
    mcc: FloatArray
    """(r,) Matthews correlation for several classes: Gorodkin, Comput. Biol. Chem. 28 (2004) 367-374."""
    kappa: FloatArray
    """(r,) Cohen's kappa, unweighted: Cohen, Educ. Psychol. Meas. 20 (1960) 37-46."""
    f1: FloatArray
    """(r, c) harmonic mean of precision and recall; undefined for a class without images and predictions."""
    precision: FloatArray
    """(r, c) undefined for a class that is never predicted."""
    recall: FloatArray
    """(r, c) undefined for a class without images."""
    specificity: FloatArray
    """(r, c) recall of the other classes taken as one; undefined when there is no image of them."""


def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Divide two arrays of one shape element by element; NaN where the denominator is 0."""
    result = np.full(np.shape(denominator), np.nan)
    np.divide(numerator, denominator, out=result, where=denominator != 0)
    return result


def confusion_metrics(confusion: FloatArray) -> ConfusionMetrics:
    """Compute the metrics of every confusion matrix.

    Parameters
    ----------
    confusion : (r, c, c) array of float64
        Numbers of images, labels in rows and predictions in columns; at least one image in each matrix.

    Returns
    -------
    ConfusionMetrics
    """
    images = confusion.sum(axis=(1, 2))
    right = confusion.diagonal(axis1=1, axis2=2)
    labelled, predicted = confusion.sum(axis=2), confusion.sum(axis=1)
    total = images[:, np.newaxis]
    n_right = right.sum(axis=1)
    recall = ratio(right, labelled)
    f1 = ratio(2 * right, labelled + predicted)
    f1_or_zero = np.nan_to_num(f1, nan=0.0)
    chance = (labelled * predicted).sum(axis=1)
    spread_of_labels = images**2 - (labelled**2).sum(axis=1)
    spread_of_predictions = images**2 - (predicted**2).sum(axis=1)
    return ConfusionMetrics(
        accuracy=ratio(n_right, images),
        balanced_accuracy=ratio(np.nansum(recall, axis=1), (labelled > 0).sum(axis=1)),
        macro_f1=f1_or_zero.mean(axis=1),
        weighted_f1=ratio((labelled * f1_or_zero).sum(axis=1), images),
        mcc=ratio(n_right * images - chance, np.sqrt(spread_of_labels * spread_of_predictions)),
        kappa=ratio(n_right * images - chance, images**2 - chance),
        f1=f1,
        precision=ratio(right, predicted),
        recall=recall,
        specificity=ratio(total - labelled - predicted + right, total - labelled),
    )
