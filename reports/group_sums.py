"""Sums over the images of each group, from which every metric that is a sum over images follows.

Gathered once; one matrix product with the group counts of the resamples then gives the sums of all resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cv_folds.arrays import FloatArray, IntArray
from reports.equal_mass import N_BINS, equal_mass_bins


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Sums over the images of r resamples."""

    confusion: FloatArray
    """(r, c, c) number of images, labels in rows and predictions in columns."""
    log_loss: FloatArray
    """(r,) minus the logarithm of the probability of the label, clipped as in scikit-learn."""
    squared_errors: FloatArray
    """(r, c) squared difference between the probability of the class and 0 or 1."""
    top_gaps: FloatArray
    """(r, 15) highest probability minus whether that class is right, by bin of the highest probability."""
    class_gaps: FloatArray
    """(r, c, 15) probability of the class minus 0 or 1, by bin of that probability."""


@dataclass(frozen=True, kw_only=True)
class GroupSums:
    """Sums over the images of each group."""

    columns: FloatArray
    """(n_groups, c * c + 1 + c + 15 + 15 * c), the parts of `Totals` side by side."""
    n_classes: int
    """c."""

    def totals(self, counts: FloatArray) -> Totals:
        """Sum over the groups of every resample.

        Parameters
        ----------
        counts : (r, n_groups) array of float64
            How often each group is in each resample.
        """
        c = self.n_classes
        ends = np.cumsum([c * c, 1, c, N_BINS])
        confusion, log_loss, squares, top, by_class = np.split(counts @ self.columns, ends, axis=1)
        return Totals(
            confusion=confusion.reshape(-1, c, c),
            log_loss=log_loss[:, 0],
            squared_errors=squares,
            top_gaps=top,
            class_gaps=by_class.reshape(-1, c, N_BINS),
        )


def sum_groups(labels: IntArray, probabilities: FloatArray, groups: IntArray, n_groups: int) -> GroupSums:
    """Gather the sums of one model.

    Parameters
    ----------
    labels : (n,) array of int64
        Column numbers of the true classes.
    probabilities : (n, c) array of float64
        Predicted probabilities.
    groups : (n,) array of int64
        Group numbers from 0 to ``n_groups - 1``.
    n_groups : int
        Number of groups.

    Returns
    -------
    GroupSums
        The calibration bins are those of the images given here; resamples do not move them.
    """
    n, c = probabilities.shape
    truth = np.eye(c)[labels]
    predicted = probabilities.argmax(axis=1)
    tiny = np.finfo(np.float64).eps
    surprise = -np.log(np.clip(probabilities[np.arange(n), labels], tiny, 1 - tiny))
    top = probabilities.max(axis=1)

    def gather(codes: IntArray, weights: FloatArray | None, n_codes: int) -> FloatArray:
        sums = np.bincount(groups * n_codes + codes, weights=weights, minlength=n_groups * n_codes)
        return sums.astype(np.float64).reshape(n_groups, n_codes)

    one = np.zeros(n, dtype=np.int64)
    parts = [
        gather(labels * c + predicted, None, c * c),
        gather(one, surprise, 1),
        *(gather(one, (probabilities[:, k] - truth[:, k]) ** 2, 1) for k in range(c)),
        gather(equal_mass_bins(top), top - (predicted == labels), N_BINS),
        *(gather(equal_mass_bins(probabilities[:, k]), probabilities[:, k] - truth[:, k], N_BINS) for k in range(c)),
    ]
    return GroupSums(columns=np.concatenate(parts, axis=1), n_classes=c)
