"""How often prediction sets hold the true class, and how large they are, on lesions that did not calibrate them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cv_folds.arrays import BoolArray, FloatArray, IntArray
from ensemble.conformal import PredictionSets
from ensemble.cross_conformal import held_out_sets
from ensemble.predictions import Predictions
from ensemble.settings import SetMethod
from reports.intervals import percentile_interval, resample_groups
from reports.results import Estimate, SetCoverage, SetScores

SET_METHODS: tuple[SetMethod, ...] = ("lac", "class_conditional")


def measure_sets(
    predictions: Predictions,
    model: str,
    *,
    aimed: float,
    deployed: SetMethod,
    resamples: int,
    generator: np.random.Generator,
) -> SetCoverage | None:
    """Measure the sets of every fold at the thresholds of the other folds.

    Parameters
    ----------
    predictions : Predictions
        Out-of-fold probabilities.
    model : str
        One of its models.
    aimed : float
        Coverage that the thresholds are set for.
    deployed : {"lac", "class_conditional"}
        The method that the predictor uses; noted only.
    resamples : int
        Lesion resamples for the intervals.
    generator : numpy.random.Generator
        Source of the resamples.

    Returns
    -------
    SetCoverage or None
        None when there is one fold only, so that no other one can calibrate it.
    """
    if len(np.unique(predictions.folds)) < 2:
        return None
    group, counts = _resampled(predictions, resamples, generator)

    def inside(method: SetMethod) -> BoolArray:
        rows, labels = predictions.probabilities[model], predictions.labels
        return held_out_sets(rows, labels, predictions.groups, predictions.folds, coverage=aimed, method=method)

    return SetCoverage(
        model=model,
        aimed=aimed,
        deployed=deployed,
        methods={method: _scores(predictions, inside(method), group, counts) for method in SET_METHODS},
    )


def measure_own_sets(
    predictions: Predictions, model: str, sets: PredictionSets, *, resamples: int, generator: np.random.Generator
) -> SetCoverage:
    """Measure the sets of a predictor, at its own thresholds, on images from elsewhere.

    Parameters
    ----------
    predictions : Predictions
        What the predictor says about images that it has not seen.
    model : str
        One of its models.
    sets : PredictionSets
        The rule of the predictor.
    resamples, generator
        As for `measure_sets`.
    """
    group, counts = _resampled(predictions, resamples, generator)
    inside = sets.members(predictions.probabilities[model])
    return SetCoverage(
        model=model,
        aimed=sets.coverage,
        deployed=sets.method,
        methods={sets.method: _scores(predictions, inside, group, counts)},
        elsewhere=True,
    )


def _resampled(
    predictions: Predictions, resamples: int, generator: np.random.Generator
) -> tuple[IntArray, NDArray[np.int32]]:
    """Return the group of each image and how often each group is in each resample."""
    names, group = np.unique(predictions.groups, return_inverse=True)
    blocks = [*resample_groups(len(names), len(group), resamples=resamples, generator=generator)]
    return group, np.concatenate(blocks) if len(names) > 1 else np.empty((0, 1), np.int32)


def _scores(predictions: Predictions, inside: BoolArray, group: IntArray, counts: NDArray[np.int32]) -> SetScores:
    labels = predictions.labels
    hit, size = inside[np.arange(len(labels)), labels].astype(np.float64), inside.sum(axis=1)
    everywhere = np.ones(len(labels), dtype=np.bool_)

    def mean(values: FloatArray, rows: Any, absent: str) -> Estimate:
        return _mean_over_groups(values[rows], group[rows], counts, absent)

    return SetScores(
        coverage=mean(hit, everywhere, "no image"),
        size=mean(size.astype(np.float64), everywhere, "no image"),
        single=mean((size == 1).astype(np.float64), everywhere, "no image"),
        per_class={
            name: mean(hit, labels == index, "no image of this class") for index, name in enumerate(predictions.classes)
        },
    )


def _mean_over_groups(values: FloatArray, group: IntArray, counts: NDArray[np.int32], absent: str) -> Estimate:
    """Average within groups, then over them, with an interval from (r, n_groups) resample counts."""
    if not len(values):
        return Estimate(value=None, reason=absent)
    numbers, index, sizes = np.unique(group, return_inverse=True, return_counts=True)
    means = np.bincount(index, weights=values) / sizes
    drawn = counts[:, numbers].astype(np.float64)
    how_many = drawn.sum(axis=1)
    resampled = np.where(how_many > 0, drawn @ means / np.maximum(how_many, 1), np.nan)
    interval = percentile_interval(resampled)
    return Estimate(value=float(means.mean()), low=interval.low, high=interval.high, reason=interval.reason)
