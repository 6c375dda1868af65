"""Estimates with intervals, and reasons where there are none, of the metrics of `reports.further_metrics`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cv_folds.arrays import BoolArray, FloatArray, IntArray
from ensemble.predictions import Predictions
from reports.equal_mass import N_BINS
from reports.further_metrics import FURTHER_CLASS_METRICS, FURTHER_METRICS, FullScores, score_fully
from reports.intervals import centred_interval, percentile_interval
from reports.levels import Level, Unit, UnitScores
from reports.malignant import MALIGNANT_METRICS, THRESHOLDS, MalignantClasses, treat_all
from reports.operating_points import operating_points
from reports.results import Estimate, ModelScores

CENTRED = frozenset(
    {
        "ece_equal_width",
        "classwise_ece",
        "debiased_calibration_error",
        "max_calibration_error",
        "brier_reliability",
        "brier_resolution",
    }
)
"""Metrics that the noise of a resample can only widen; see `reports.intervals.centred_interval`."""


def measure_level(
    unit: Unit,
    predictions: Predictions,
    basic: Mapping[str, ModelScores],
    resampled: Mapping[str, FullScores],
    classes: MalignantClasses,
) -> Level:
    """Put the scores of every model on one kind of unit together.

    Parameters
    ----------
    unit : {"image", "lesion"}
        What a row of `predictions` is.
    predictions : Predictions
        Of these units.
    basic : mapping of str to ModelScores
        Model name to the metrics of `reports.metrics`.
    resampled : mapping of str to FullScores
        Model name to all metrics in every resample.
    classes : MalignantClasses
        Which classes are malignant.
    """
    is_malignant = classes.malignant[predictions.labels]
    n_malignant = int(is_malignant.sum()) if classes.undefined is None else 0
    share = n_malignant / len(is_malignant)
    return Level(
        unit=unit,
        n=len(is_malignant),
        n_malignant=n_malignant,
        treat_all=tuple(treat_all(share).tolist()) if n_malignant else (None,) * len(THRESHOLDS),
        models={
            model: _unit_scores(unit, predictions, probabilities, basic[model], resampled[model], classes)
            for model, probabilities in predictions.probabilities.items()
        },
    )


def _unit_scores(
    unit: Unit,
    predictions: Predictions,
    probabilities: FloatArray,
    basic: ModelScores,
    resampled: FullScores,
    classes: MalignantClasses,
) -> UnitScores:
    labels, malignant, no_malignant = predictions.labels, classes.malignant, classes.undefined
    point = score_fully(labels, probabilities, malignant)
    reasons = _why_undefined(unit, labels, predictions.classes)
    benign_or_not = _malignant_estimates(unit, point, resampled, malignant[labels], no_malignant)
    return UnitScores(
        overall={
            **basic.overall,
            **{
                metric: _estimate(metric, point.overall[metric][0], resampled.overall[metric], reasons.get(metric))
                for metric in FURTHER_METRICS
            },
        },
        per_class={
            name: {**basic.per_class[name], **_class_estimates(unit, index, labels, point, resampled)}
            for index, name in enumerate(predictions.classes)
        },
        malignant={metric: benign_or_not[metric] for metric in MALIGNANT_METRICS},
        risk=tuple(
            _estimate("risk", value, column, None)
            for value, column in zip(point.risk[0], resampled.risk.T, strict=True)
        ),
        net_benefit=_net_benefit(unit, point, resampled, malignant[labels], no_malignant),
        operating_points=(
            () if no_malignant else operating_points(probabilities[:, malignant].sum(axis=1), malignant[labels])
        ),
    )


def _estimate(metric: str, value: float, resampled: FloatArray, reason: str | None) -> Estimate:
    if np.isnan(value):
        assert reason is not None, metric
        return Estimate(value=None, reason=reason)
    interval = centred_interval(resampled, value) if metric in CENTRED else percentile_interval(resampled)
    return Estimate(value=float(value), low=interval.low, high=interval.high, reason=interval.reason)


def _class_estimates(
    unit: Unit, index: int, labels: IntArray, point: FullScores, resampled: FullScores
) -> dict[str, Estimate]:
    reason = _one_sided(unit, labels == index, "of this class")
    return {
        metric: _estimate(metric, point.per_class[metric][0, index], resampled.per_class[metric][:, index], reason)
        for metric in FURTHER_CLASS_METRICS
    }


def _one_sided(unit: Unit, inside: BoolArray, words: str) -> str | None:
    if not inside.any():
        return f"no {unit} {words}"
    return f"every {unit} is {words}" if inside.all() else None


def _malignant_estimates(
    unit: Unit, point: FullScores, resampled: FullScores, is_malignant: BoolArray, no_malignant: str | None
) -> dict[str, Estimate]:
    if point.malignant is None or resampled.malignant is None:
        return dict.fromkeys(MALIGNANT_METRICS, Estimate(value=None, reason=no_malignant))
    reason = _one_sided(unit, is_malignant, "of a malignant class")
    return {
        metric: _estimate(metric, point.malignant.metrics[metric][0], resampled.malignant.metrics[metric], reason)
        for metric in MALIGNANT_METRICS
    }


def _net_benefit(
    unit: Unit, point: FullScores, resampled: FullScores, is_malignant: BoolArray, no_malignant: str | None
) -> tuple[Estimate, ...]:
    if point.malignant is None or resampled.malignant is None:
        return (Estimate(value=None, reason=no_malignant),) * len(THRESHOLDS)
    values, columns = point.malignant.net_benefit[0], resampled.malignant.net_benefit.T
    reason = _one_sided(unit, is_malignant, "of a malignant class")
    return tuple(_estimate("net_benefit", value, column, reason) for value, column in zip(values, columns, strict=True))


def _why_undefined(unit: Unit, labels: IntArray, classes: Sequence[str]) -> dict[str, str]:
    reasons: dict[str, str] = {}
    counts = np.bincount(labels, minlength=len(classes))
    recalls = ("balanced_multiclass_accuracy", "geometric_mean", "index_balanced_accuracy")
    if absent := [name for name, count in zip(classes, counts, strict=True) if not count]:
        reasons |= dict.fromkeys(recalls, f"no {unit} of {', '.join(absent)}")
    elif len(classes) == 1:
        reasons["index_balanced_accuracy"] = "there is only one class"
    if len(classes) < 3:
        reasons["top2_accuracy"] = "with fewer than three classes it is always 1"
    reasons["debiased_calibration_error"] = f"of the {N_BINS} bins of confidence, one holds a single {unit}"
    return reasons
