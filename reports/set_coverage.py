"""How often prediction sets hold the true class, and how large they are, on lesions that did not calibrate them."""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np

from cv_folds.arrays import BoolArray
from ensemble.conformal import PredictionSets, calibrate_sets
from ensemble.cross_conformal import held_out_sets
from ensemble.predictions import Predictions
from ensemble.settings import SetMethod
from reports.group_means import GroupMeans
from reports.uncertainty import SetCoverage, SetScores

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
    means = GroupMeans.of(predictions, resamples=resamples, generator=generator)

    rows, labels, groups = predictions.probabilities[model], predictions.labels, predictions.groups

    def scores(method: SetMethod) -> SetScores:
        inside = held_out_sets(rows, labels, groups, predictions.folds, coverage=aimed, method=method)
        return _scores(predictions, inside, calibrate_sets(rows, labels, groups, coverage=aimed, method=method), means)

    return SetCoverage(
        model=model, aimed=aimed, deployed=deployed, methods={method: scores(method) for method in SET_METHODS}
    )


def measure_own_sets(
    predictions: Predictions,
    model: str,
    sets: PredictionSets,
    *,
    tried_on: Literal["test part", "elsewhere"],
    resamples: int,
    generator: np.random.Generator,
) -> SetCoverage:
    """Measure the sets of a predictor, at its own thresholds, on images that had no part in it.

    Parameters
    ----------
    predictions : Predictions
        What the predictor says about images that it has not seen.
    model : str
        One of its models.
    sets : PredictionSets
        The rule of the predictor.
    tried_on : {"test part", "elsewhere"}
        Where the images come from; noted only.
    resamples, generator
        As for `measure_sets`.
    """
    means = GroupMeans.of(predictions, resamples=resamples, generator=generator)
    inside = sets.members(predictions.probabilities[model])
    return SetCoverage(
        model=model,
        aimed=sets.coverage,
        deployed=sets.method,
        methods={sets.method: _scores(predictions, inside, sets, means)},
        tried_on=tried_on,
    )


def _scores(predictions: Predictions, inside: BoolArray, sets: PredictionSets, means: GroupMeans) -> SetScores:
    labels = predictions.labels
    hit, size = inside[np.arange(len(labels)), labels].astype(np.float64), inside.sum(axis=1)
    return SetScores(
        coverage=means.mean(hit, absent="no image"),
        size=means.mean(size.astype(np.float64), absent="no image"),
        single=means.mean((size == 1).astype(np.float64), absent="no image"),
        single_right=means.mean(hit, rows=size == 1, absent="no set holds one class only"),
        per_class={
            name: means.mean(hit, rows=labels == index, absent="no image of this class")
            for index, name in enumerate(predictions.classes)
        },
        never_excluded=tuple(itertools.compress(predictions.classes, sets.never_excluded)),
    )
