"""One score three times: on a project's own split, on folds of images and on folds of lesions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cv_folds.arrays import FloatArray, IntArray, positions
from ensemble.predictions import Predictions
from reports.confusion_metrics import confusion_metrics
from reports.group_sums import GroupSums, sum_groups
from reports.intervals import percentile_interval, resample_groups
from reports.results import Estimate


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A score of one model; every interval is one of 95 % over lesions."""

    own: Estimate
    """On the project's own split."""
    image_level: Estimate
    """On folds of images."""
    grouped: Estimate
    """On folds of lesions: without leakage."""
    own_minus_grouped: Estimate
    """What the score loses without leakage, from its own split."""
    image_level_minus_grouped: Estimate
    """What it loses from folds of images."""


def compare(
    own: Predictions,
    image_level: Predictions,
    grouped: Predictions,
    *,
    model: str,
    metric: str,
    resamples: int,
    generator: np.random.Generator,
) -> Compared:
    """Score a model on three divisions of the images and take the differences.

    Parameters
    ----------
    own : Predictions
        Of some of the images of `grouped`, the test part of a division.
    image_level, grouped : Predictions
        Of all images.
    model : str
        Its name in all three.
    metric : str
        Name in `reports.confusion_metrics.ConfusionMetrics`.
    resamples : int
        Of the groups of `grouped`.
    generator : numpy.random.Generator
        Source of the resamples.

    Returns
    -------
    Compared
        All sides see the same resamples of groups, so that differences are paired: what is the same about the images
        is taken off. The own split has only its test part in a resample. Training is not repeated.
    """
    names, numbers = np.unique(grouped.groups, return_inverse=True)

    def gathered(table: Predictions) -> GroupSums:
        rows: IntArray = numbers[positions(grouped.image_ids, table.image_ids)]
        return sum_groups(table.labels, table.probabilities[model], rows, len(names))

    sides = {"own": gathered(own), "image_level": gathered(image_level), "grouped": gathered(grouped)}
    points = {side: _scores(sums, np.ones((1, len(names))), metric) for side, sums in sides.items()}
    blocks = list(resample_groups(len(names), len(grouped.image_ids), resamples=resamples, generator=generator))
    drawn = {
        side: np.concatenate([_scores(sums, block.astype(np.float64), metric) for block in blocks])
        for side, sums in sides.items()
    }
    return Compared(
        **{side: _estimate(float(points[side][0]), drawn[side]) for side in sides},
        **{f"{side}_minus_grouped": _less(points, drawn, side) for side in ("own", "image_level")},
    )


def _scores(sums: GroupSums, counts: FloatArray, metric: str) -> FloatArray:
    values: FloatArray = getattr(confusion_metrics(sums.totals(counts).confusion), metric)
    return values


def _less(points: Mapping[str, FloatArray], drawn: Mapping[str, FloatArray], side: str) -> Estimate:
    return _estimate(float(points[side][0] - points["grouped"][0]), drawn[side] - drawn["grouped"])


def _estimate(value: float, drawn: FloatArray) -> Estimate:
    interval = percentile_interval(drawn)
    return Estimate(value=value, low=interval.low, high=interval.high, reason=interval.reason)
