"""Means over lesions, each counting once however many images it has, with intervals from lesion resamples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv_folds.arrays import BoolArray, FloatArray, IntArray
from ensemble.predictions import Predictions
from reports.intervals import percentile_interval, resample_groups
from reports.results import Estimate


@dataclass(frozen=True, kw_only=True)
class GroupMeans:
    """The same resamples of groups for every mean that is taken."""

    group: IntArray
    """(n,) number of each image's group."""
    counts: NDArray[np.int32]
    """(r, n_groups) how often each group is in each resample."""

    @classmethod
    def of(cls, predictions: Predictions, *, resamples: int, generator: np.random.Generator) -> GroupMeans:
        """Draw the resamples; none when there is only one group."""
        names, group = np.unique(predictions.groups, return_inverse=True)
        blocks = [*resample_groups(len(names), len(group), resamples=resamples, generator=generator)]
        return cls(group=group, counts=np.concatenate(blocks) if len(names) > 1 else np.empty((0, 1), np.int32))

    def mean(self, values: FloatArray, *, absent: str, rows: BoolArray | None = None) -> Estimate:
        """Average within groups, then over them.

        Parameters
        ----------
        values : (n,) float64
            One an image.
        absent : str
            Why there is no mean when `rows` holds no image.
        rows : (n,) bool, optional
            Which images count; all when not given.
        """
        inside = np.ones(len(values), dtype=np.bool_) if rows is None else rows
        if not inside.any():
            return Estimate(value=None, reason=absent)
        numbers, index, sizes = np.unique(self.group[inside], return_inverse=True, return_counts=True)
        means = np.bincount(index, weights=values[inside]) / sizes
        drawn = self.counts[:, numbers].astype(np.float64)
        how_many = drawn.sum(axis=1)
        resampled = np.where(how_many > 0, drawn @ means / np.maximum(how_many, 1), np.nan)
        interval = percentile_interval(resampled)
        return Estimate(value=float(means.mean()), low=interval.low, high=interval.high, reason=interval.reason)
