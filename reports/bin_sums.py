"""Sums over the images of each group that the calibration errors beyond the usual one need.

Like `reports.group_sums`, but nearly all of it counts images that fall into one of many bins: a sparse matrix, which is
several times as fast as a full one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from cv_folds.arrays import FloatArray, IntArray
from reports.equal_mass import N_BINS, equal_mass_bins

_WIDTH_EDGES = np.arange(1, N_BINS) / N_BINS


@dataclass(frozen=True, kw_only=True)
class BinTotals:
    """Sums over the images of r resamples; the bins are those of `reports.group_sums` unless it says so."""

    class_counts: FloatArray
    """(r, c, 15) images, by bin of the probability of the class."""
    class_hits: FloatArray
    """(r, c, 15) of these, images of the class."""
    class_squares: FloatArray
    """(r, c) squared probability of the class."""
    top_counts: FloatArray
    """(r, 15) images, by bin of the highest probability."""
    top_hits: FloatArray
    """(r, 15) of these, images whose most probable class is right."""
    width_gaps: FloatArray
    """(r, 15) highest probability minus whether that class is right, by bin of equal width."""
    top_two: FloatArray
    """(r,) images whose class is among the two most probable."""


@dataclass(frozen=True, kw_only=True)
class BinSums:
    """Sums over the images of each group."""

    counts: Any
    """(30 * c + 31, n_groups) sparse int32: the counts of `BinTotals`, one below the other."""
    weights: Any
    """(c + 15, n_groups) sparse float64: squares and gaps."""
    n_classes: int
    """c."""

    def totals(self, counts: NDArray[np.int32]) -> BinTotals:
        """Sum over the groups of every resample.

        Parameters
        ----------
        counts : (n_groups, r) array of int32, C order
            How often each group is in each resample.
        """
        c = self.n_classes
        counted = (self.counts @ counts).astype(np.float64).T
        weighed = (self.weights @ counts.astype(np.float64)).T
        by_class, of_class, top, right, two = np.split(
            counted, np.cumsum([c * N_BINS, c * N_BINS, N_BINS, N_BINS]), axis=1
        )
        return BinTotals(
            class_counts=by_class.reshape(-1, c, N_BINS),
            class_hits=of_class.reshape(-1, c, N_BINS),
            class_squares=weighed[:, :c],
            top_counts=top,
            top_hits=right,
            width_gaps=weighed[:, c:],
            top_two=two[:, 0],
        )


def sum_bins(labels: IntArray, probabilities: FloatArray, groups: IntArray, n_groups: int) -> BinSums:
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
    BinSums
        The bins are those of the images given here; resamples do not move them. Bins of equal width hold what is
        above their lower edge, up to and with the upper one.
    """
    n, c = probabilities.shape
    every = np.arange(n)
    top = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    class_bins = np.stack([equal_mass_bins(column) for column in probabilities.T], axis=1)
    place = class_bins + N_BINS * np.arange(c)
    top_bins = equal_mass_bins(top)
    first_top = 2 * c * N_BINS
    # As in scikit-learn: of equal probabilities, the later column counts as the higher one.
    two = np.argsort(probabilities, axis=1, kind="stable")[:, -2:]
    among_two = (two == labels[:, np.newaxis]).any(axis=1)
    counted = [
        (place.ravel(), np.repeat(every, c)),
        (c * N_BINS + place[every, labels], every),
        (first_top + top_bins, every),
        (first_top + N_BINS + top_bins[right], every[right]),
        (np.full(int(among_two.sum()), first_top + 2 * N_BINS), every[among_two]),
    ]
    rows = np.concatenate([row for row, _ in counted])
    images = np.concatenate([image for _, image in counted])
    width_bins = np.searchsorted(_WIDTH_EDGES, top)
    weights = np.concatenate([(probabilities**2).ravel(), top - right])
    weight_rows = np.concatenate([np.tile(np.arange(c), n), c + width_bins])
    weight_images = np.concatenate([np.repeat(every, c), every])
    return BinSums(
        # 32 bits hold two thousand million images and are twice as fast as 64.
        counts=csr_array(
            (np.ones(len(rows), dtype=np.int32), (rows, groups[images])),
            shape=(first_top + 2 * N_BINS + 1, n_groups),
            dtype=np.int32,
        ),
        weights=csr_array((weights, (weight_rows, groups[weight_images])), shape=(c + N_BINS, n_groups)),
        n_classes=c,
    )
