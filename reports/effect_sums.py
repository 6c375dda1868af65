"""The few metrics that effects are measured by, of many tables of probabilities and decisions on many resamples.

One matrix product serves all tables: the metrics are ratios of sums over images. Nearly all of these count images in
one of many cells, so that the matrix is sparse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from cv_folds.arrays import FloatArray, IntArray
from reports.confusion_metrics import confusion_metrics
from reports.effects import CALIBRATION_METRICS, DECISION_METRICS, MEAN_COST
from reports.equal_mass import N_BINS, equal_mass_bins

_TINY = np.finfo(np.float64).eps


@dataclass(frozen=True, kw_only=True)
class GroupTable:
    """Sums over the images of each group, of one table of decisions and, where given, its probabilities."""

    rows: Any
    """(k, n_groups) sparse: the confusion matrix row by row; log-loss, squared error and gaps by bin of confidence."""
    costs: FloatArray | None
    """(c, c) cost of each decision (column) for each true class (row)."""
    n_classes: int
    """c."""

    def score(self, sums: FloatArray) -> dict[str, FloatArray]:
        """Compute the metrics.

        Parameters
        ----------
        sums : (r, k) array of float64
            `rows` summed over the groups of every resample.

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
    rows = _gather(labels * n_classes + decided, np.ones(len(labels)), groups, n_classes**2)
    return GroupTable(rows=rows, costs=costs, n_classes=n_classes)


def probability_table(labels: IntArray, probabilities: FloatArray, groups: IntArray) -> GroupTable:
    """Gather what scores (n, c) probabilities; the bins of confidence are those of all images."""
    n, c = probabilities.shape
    decided, top = probabilities.argmax(axis=1), probabilities.max(axis=1)
    surprise = -np.log(np.clip(probabilities[np.arange(n), labels], _TINY, 1 - _TINY))
    squares = ((probabilities - np.eye(c)[labels]) ** 2).sum(axis=1)
    one = np.zeros(n, dtype=np.int64)
    parts = [
        decision_table(labels, decided, groups, c).rows,
        _gather(one, surprise, groups, 1),
        _gather(one, squares, groups, 1),
        _gather(equal_mass_bins(top), top - (decided == labels), groups, N_BINS),
    ]
    return GroupTable(rows=vstack(parts, format="csr"), costs=None, n_classes=c)


def _gather(codes: IntArray, weights: FloatArray, groups: IntArray, n_codes: int) -> Any:
    return csr_array((weights, (codes, groups)), shape=(n_codes, int(groups.max()) + 1))


@dataclass(frozen=True, kw_only=True)
class TableSet:
    """Many tables of the same groups."""

    tables: Mapping[str, GroupTable]
    """Any name to a table."""
    rows: Any
    """All their rows, one table below the other."""

    @classmethod
    def of(cls, tables: Mapping[str, GroupTable]) -> TableSet:
        """Put tables together."""
        return cls(tables=tables, rows=vstack([table.rows for table in tables.values()], format="csr"))

    def score(self, counts: NDArray[np.int32]) -> dict[str, dict[str, FloatArray]]:
        """Score every table on every resample.

        Parameters
        ----------
        counts : (r, n_groups) array of int32
            How often each group is in each resample.

        Returns
        -------
        dict
            Name to metric to (r,) values.
        """
        ends = np.cumsum([table.rows.shape[0] for table in self.tables.values()])[:-1]
        sums = self.rows @ np.ascontiguousarray(counts.T, dtype=np.float64)
        return {
            name: table.score(np.ascontiguousarray(part.T))
            for (name, table), part in zip(self.tables.items(), np.split(sums, ends, axis=0), strict=True)
        }
