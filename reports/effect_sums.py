"""The few metrics that effects are measured by, of many tables of probabilities and decisions on many resamples.

One matrix product serves all tables: the metrics are ratios of sums over images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv_folds.arrays import FloatArray, IntArray
from reports.confusion_metrics import confusion_metrics
from reports.effects import CALIBRATION_METRICS, DECISION_METRICS, MEAN_COST
from reports.equal_mass import N_BINS, equal_mass_bins

_TINY = np.finfo(np.float64).eps


@dataclass(frozen=True, kw_only=True)
class GroupTable:
    """Sums over the images of each group, of one table of decisions and, where given, its probabilities."""

    columns: FloatArray
    """(n_groups, k): the confusion matrix row by row; log-loss, squared error and gaps by bin of confidence."""
    costs: FloatArray | None
    """(c, c) cost of each decision (column) for each true class (row)."""
    n_classes: int
    """c."""

    def score(self, sums: FloatArray) -> dict[str, FloatArray]:
        """Compute the metrics.

        Parameters
        ----------
        sums : (r, k) array of float64
            `columns` summed over the groups of every resample.

        Returns
        -------
        dict
            Metric name to (r,) values, defined as in `reports.metrics`.
        """
        c = self.n_classes
        confusion = sums[:, : c * c].reshape(-1, c, c)
        images = confusion.sum(axis=(1, 2))
        matrix = confusion_metrics(confusion)
        scores = {metric: getattr(matrix, metric) for metric in DECISION_METRICS}
        if self.costs is not None:
            scores[MEAN_COST] = (confusion * self.costs).sum(axis=(1, 2)) / images
        if sums.shape[1] > c * c:
            log_loss, brier, gaps = np.split(sums[:, c * c :], [1, 2], axis=1)
            scores |= {
                "log_loss": log_loss[:, 0] / images,
                "brier": brier[:, 0] / images,
                "ece": abs(gaps).sum(axis=1) / images,
            }
            assert set(scores) >= set(CALIBRATION_METRICS)
        return scores


def decision_table(
    labels: IntArray, decided: IntArray, groups: IntArray, n_classes: int, costs: FloatArray | None = None
) -> GroupTable:
    """Gather what scores (n,) decisions on (n,) labels of the groups numbered from 0."""
    columns = _gather(labels * n_classes + decided, None, groups, n_classes**2)
    return GroupTable(columns=columns, costs=costs, n_classes=n_classes)


def probability_table(labels: IntArray, probabilities: FloatArray, groups: IntArray) -> GroupTable:
    """Gather what scores (n, c) probabilities; the bins of confidence are those of all images."""
    n, c = probabilities.shape
    decided, top = probabilities.argmax(axis=1), probabilities.max(axis=1)
    surprise = -np.log(np.clip(probabilities[np.arange(n), labels], _TINY, 1 - _TINY))
    squares = ((probabilities - np.eye(c)[labels]) ** 2).sum(axis=1)
    one = np.zeros(n, dtype=np.int64)
    parts = [
        decision_table(labels, decided, groups, c).columns,
        _gather(one, surprise, groups, 1),
        _gather(one, squares, groups, 1),
        _gather(equal_mass_bins(top), top - (decided == labels), groups, N_BINS),
    ]
    return GroupTable(columns=np.concatenate(parts, axis=1), costs=None, n_classes=c)


def _gather(codes: IntArray, weights: FloatArray | None, groups: IntArray, n_codes: int) -> FloatArray:
    n_groups = int(groups.max()) + 1
    sums = np.bincount(groups * n_codes + codes, weights=weights, minlength=n_groups * n_codes)
    return sums.astype(np.float64).reshape(n_groups, n_codes)


def score_tables(tables: Mapping[str, GroupTable], counts: NDArray[np.int32]) -> dict[str, dict[str, FloatArray]]:
    """Score every table on every resample.

    Parameters
    ----------
    tables : mapping of str to GroupTable
        Any name to a table.
    counts : (r, n_groups) array of int32
        How often each group is in each resample.

    Returns
    -------
    dict
        Name to metric to (r,) values.
    """
    ends = np.cumsum([table.columns.shape[1] for table in tables.values()])[:-1]
    sums = counts.astype(np.float64) @ np.concatenate([table.columns for table in tables.values()], axis=1)
    return {
        name: table.score(part)
        for (name, table), part in zip(tables.items(), np.split(sums, ends, axis=1), strict=True)
    }
