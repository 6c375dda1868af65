"""Measure what restored class shares, calibration and decision rules do to the scores, and which ensemble is best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cv_folds.arrays import FloatArray, IntArray
from cv_folds.errors import DataError
from ensemble.decisions import RuleName
from ensemble.predictions import Predictions
from reports.best_combiner import best_combiner
from reports.effect_sums import TableSet, decision_table, probability_table
from reports.effects import CALIBRATION_METRICS, DECISION_METRICS, MEAN_COST, BeforeAfter, Effects, RankedBy
from reports.intervals import centred_interval, percentile_interval, resample_groups
from reports.reliability import measure_reliability
from reports.results import Estimate

Decided = Mapping[str, Mapping[RuleName, IntArray]]


def measure_effects(
    after: Predictions,
    before: Predictions | None,
    decided: Decided,
    *,
    costs: FloatArray | None,
    resamples: int,
    generator: np.random.Generator,
    ranked_by: RankedBy = "cross-fitted log_loss",
) -> Effects:
    """Compare probabilities with what they were made from, and decisions with each other.

    Parameters
    ----------
    after : Predictions
        With natural class shares and calibrated.
    before : Predictions or None
        The same images and models as trained; None where nothing but the decisions is compared.
    decided : mapping
        Model name to rule to (n,) column numbers, the decisions on `after`.
    costs : (n_classes, n_classes) float64 or None
        Cost of each decision (column) for each true class (row).
    resamples : int
        Lesion resamples behind every interval.
    generator : numpy.random.Generator
        Source of the resamples; in the state in which `reports.evaluation.evaluate` had it, they are the same.
    ranked_by : str
        What the log-loss of the ensembles is of.

    Returns
    -------
    Effects

    Raises
    ------
    DataError
        When the two tables do not hold the same images and models in the same order.
    """
    if before is not None:
        _refuse_others(after, before)
    scores = _score(after, before, decided, costs, resamples, generator)
    rule_metrics = (*DECISION_METRICS, *(() if costs is None else (MEAN_COST,)))
    return Effects(
        calibration={
            model: {
                metric: BeforeAfter(
                    before=scores[f"before/{model}"].estimate(metric),
                    after=scores[f"after/{model}"].estimate(metric),
                    difference=scores[f"after/{model}"].difference(scores[f"before/{model}"], metric),
                )
                for metric in CALIBRATION_METRICS
            }
            for model in (() if before is None else after.kinds)
        },
        decisions={
            model: {
                rule: {metric: scores[f"{rule}/{model}"].estimate(metric) for metric in rule_metrics} for rule in rules
            }
            for model, rules in decided.items()
        },
        reliability={} if before is None else measure_reliability(after, before),
        best=None
        if before is None
        else best_combiner(
            {model: scores[f"after/{model}"].point["log_loss"] for model in after.kinds},
            {model: scores[f"after/{model}"].resampled["log_loss"] for model in after.kinds},
            after.kinds,
            by=ranked_by,
        ),
    )


def _refuse_others(after: Predictions, before: Predictions) -> None:
    same = after.image_ids.tolist() == before.image_ids.tolist() and list(after.kinds) == list(before.kinds)
    if not same or after.classes != before.classes:
        raise DataError(
            "calibrated and uncalibrated predictions are not of the same images and models; run `hamcv ensemble` again"
        )


@dataclass(frozen=True, kw_only=True)
class _Scores:
    """Of one table, metric by metric."""

    point: Mapping[str, float]
    """On all images."""
    resampled: Mapping[str, FloatArray]
    """(r,) on every resample; empty with a single group."""

    def estimate(self, metric: str) -> Estimate:
        return _with_interval(metric, self.point[metric], self.resampled[metric])

    def difference(self, other: _Scores, metric: str) -> Estimate:
        value, values = self.point[metric] - other.point[metric], self.resampled[metric] - other.resampled[metric]
        if metric == "ece" and len(values):
            # Either side has a bias of its own, which need not cancel.
            values = values - (values.mean() - value)
        interval = percentile_interval(values)
        return Estimate(value=value, low=interval.low, high=interval.high, reason=interval.reason)


def _with_interval(metric: str, value: float, values: FloatArray) -> Estimate:
    interval = centred_interval(values, value) if metric == "ece" and len(values) else percentile_interval(values)
    return Estimate(value=value, low=interval.low, high=interval.high, reason=interval.reason)


def _score(
    after: Predictions,
    before: Predictions | None,
    decided: Decided,
    costs: FloatArray | None,
    resamples: int,
    generator: np.random.Generator,
) -> dict[str, _Scores]:
    """Score both tables of every model, and its decisions by every rule, on all images and on every resample."""
    names, groups = np.unique(after.groups, return_inverse=True)
    labels, n_classes = after.labels, len(after.classes)
    tables = {
        f"{side}/{model}": probability_table(labels, rows, groups)
        for side, predictions in (("after", after), *((("before", before),) if before is not None else ()))
        for model, rows in predictions.probabilities.items()
    }
    tables |= {
        f"{rule}/{model}": decision_table(labels, rows, groups, n_classes, costs)
        for model, rules in decided.items()
        for rule, rows in rules.items()
    }
    together = TableSet.of(tables)
    point = together.score(np.ones((1, len(names)), dtype=np.int32))
    blocks = resample_groups(len(names), len(labels), resamples=resamples, generator=generator)
    parts = [together.score(block) for block in blocks] if len(names) > 1 else []
    return {
        name: _Scores(
            point={metric: float(values[0]) for metric, values in metrics.items()},
            resampled={
                metric: np.concatenate([np.empty(0), *(part[name][metric] for part in parts)]) for metric in metrics
            },
        )
        for name, metrics in point.items()
    }
