"""Prediction sets: which classes cannot be ruled out, at a stated coverage over lesions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cv_folds.arrays import BoolArray, FloatArray, IntArray, StrArray
from ensemble.lesion_quantile import lesion_quantile
from ensemble.settings import SetMethod


@dataclass(frozen=True, kw_only=True)
class PredictionSets:
    """The rule that turns probabilities into sets of classes."""

    method: SetMethod
    """``lac``: least ambiguous set-valued classifier, covering lesions of all classes together (Sadinle, Lei &
    Wasserman 2019); ``class_conditional``: the same with a threshold for each class, covering each class."""
    coverage: float
    """Share of images, each lesion counting once, whose set shall hold the true class."""
    thresholds: tuple[float, ...]
    """Largest ``1 - probability`` of each class in the set; 1 where there are too few lesions to exclude it."""

    @property
    def never_excluded(self) -> BoolArray:
        """(n_classes,) which classes had too few lesions for a threshold, so that they are in every set."""
        return np.array(self.thresholds) >= 1

    def members(self, probabilities: FloatArray) -> BoolArray:
        """Return which classes are in the set of each row.

        Parameters
        ----------
        probabilities : (n, n_classes) float64
            Rows summing to 1.

        Returns
        -------
        (n, n_classes) bool
            Never an empty row: the most probable class is always in.
        """
        inside: BoolArray = 1 - probabilities <= np.array(self.thresholds)
        inside[np.arange(len(inside)), probabilities.argmax(axis=1)] = True
        return inside


def calibrate_sets(
    probabilities: FloatArray, labels: IntArray, groups: StrArray, *, coverage: float, method: SetMethod = "lac"
) -> PredictionSets:
    """Find the thresholds at which the sets of new lesions hold the true class with probability `coverage`.

    Parameters
    ----------
    probabilities : (n, n_classes) float64
        Of models that had not seen the rows.
    labels : (n,) int
        True class numbers.
    groups : (n,) str
        The lesion of each row.
    coverage : float
        Between 0 and 1.
    method : {"lac", "class_conditional"}
        One threshold for all classes, or one for each.

    Returns
    -------
    PredictionSets

    Notes
    -----
    The score is one minus the probability of the true class (LAC: Sadinle, Lei & Wasserman, "Least ambiguous
    set-valued classifiers with bounded error levels", JASA 2019). Images of a lesion are not exchangeable with
    those of others, lesions are: each of the G lesions carries the weight 1 / (G + 1), shared equally by its
    images, and the unseen lesion carries the last 1 / (G + 1) at infinity (Dunn, Wasserman & Ramdas,
    "Distribution-free prediction sets for two-layer hierarchical models", JASA 2023; Lee, Barber & Willett,
    "Distribution-free inference with hierarchical data", 2023). With one image a lesion this is the usual
    ``ceil((n + 1) * coverage)``-th smallest score. With a threshold for each class the lesions of that class alone
    decide (Mondrian; Vovk, "Conditional validity of inductive conformal predictors", Machine Learning 2013): rare
    classes are then covered like common ones, at the price of larger sets.

    The guarantee holds for the model that gave the scores. Here these are cross-fitted models while the deployed
    ensemble averages all of them, so that the coverage is approximate.
    """
    scores = 1 - probabilities[np.arange(len(labels)), labels]
    n_classes = probabilities.shape[1]
    if method == "lac":
        thresholds = [_threshold(scores, groups, coverage)] * n_classes
    else:
        of_class = [labels == label for label in range(n_classes)]
        thresholds = [_threshold(scores[rows], groups[rows], coverage) for rows in of_class]
    return PredictionSets(method=method, coverage=coverage, thresholds=tuple(thresholds))


def _threshold(scores: FloatArray, groups: StrArray, coverage: float) -> float:
    """Return the least score that covers enough lesions; 1 when there are too few of them."""
    threshold = lesion_quantile(scores, groups, coverage)
    return 1.0 if threshold is None else threshold
