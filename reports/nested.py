"""How far the usual estimate of an ensemble is from the nested one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ensemble.predictions import Predictions
from reports.evaluation import overall_estimates
from reports.intervals import Interval, bootstrap, percentile_interval
from reports.metrics import OVERALL_METRICS, Scores
from reports.paired import on_side, side_by_side
from reports.results import Estimate, Nested, NestedScore
from reports.settings import ReportSettings

_USUAL, _NESTED = "usual", "nested"


def measure_nested(
    usual: Predictions, nested: Predictions, *, settings: ReportSettings, generator: np.random.Generator
) -> Nested:
    """Compare the usual and the nested estimate of the ensembles.

    Parameters
    ----------
    usual : Predictions
        The predictions that head the report; models that `nested` does not have are left out.
    nested : Predictions
        From `ensemble.nested.nested_predictions`.
    settings : ReportSettings
        How many resamples the intervals take.
    generator : numpy.random.Generator
        Source of the resamples: seeded as that of `reports.evaluation.evaluate`, it draws the same.

    Returns
    -------
    Nested
        Every difference is usual minus nested, with a percentile interval over resamples of lesions in which both
        see the same lesions.

    Raises
    ------
    DataError
        When the two do not hold the same images, or `usual` lacks a model.
    """
    compared = [model for model in usual.probabilities if model in nested.probabilities]
    usual = replace(
        usual,
        probabilities={model: usual.probabilities[model] for model in compared},
        kinds={model: usual.kinds[model] for model in compared},
    )
    both = side_by_side({_USUAL: usual, _NESTED: nested}, "predictions.csv and those of the nested estimate")
    resampled = bootstrap(both, resamples=settings.resamples, generator=generator)
    estimates = {
        side: overall_estimates(both.labels, probabilities, resampled[side], both.classes)
        for side, probabilities in both.probabilities.items()
    }
    return Nested(
        n_folds=len(np.unique(usual.folds)),
        models={model: _scores(model, estimates, resampled) for model in compared},
    )


def _scores(
    model: str, estimates: Mapping[str, Mapping[str, Estimate]], resampled: Mapping[str, Scores]
) -> dict[str, NestedScore]:
    usual, nested = on_side(model, _USUAL), on_side(model, _NESTED)
    return {
        metric: NestedScore(
            usual=estimates[usual][metric],
            nested=estimates[nested][metric],
            difference=_difference(
                estimates[usual][metric],
                estimates[nested][metric],
                percentile_interval(resampled[usual].overall[metric] - resampled[nested].overall[metric]),
            ),
        )
        for metric in OVERALL_METRICS
    }


def _difference(usual: Estimate, nested: Estimate, interval: Interval) -> Estimate:
    if usual.value is None or nested.value is None:
        return Estimate(value=None, reason=usual.reason if usual.value is None else nested.reason)
    return Estimate(value=usual.value - nested.value, low=interval.low, high=interval.high, reason=interval.reason)
