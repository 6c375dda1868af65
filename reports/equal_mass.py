"""Equal-mass bins of confidences, for calibration errors and reliability diagrams."""

from __future__ import annotations

import numpy as np

from cv_folds.arrays import FloatArray, IntArray

N_BINS = 15


def equal_mass_bins(values: FloatArray, n_bins: int = N_BINS) -> IntArray:
    """Assign values to numbered bins so that the bins hold equally many values, as far as ties allow.

    Parameters
    ----------
    values : (n,) array of float64
        Confidences.
    n_bins : int
        Number of bins.

    Returns
    -------
    (n,) array of int64
        Bin numbers from 0 to ``n_bins - 1``, not decreasing with the value.

    Notes
    -----
    A value goes to bin ``floor(n_bins * r / n)``, where r is the middle of the ranks that its ties occupy: tied
    values share a bin, whatever the order of the rows. Without ties the sizes differ by at most one. A run of
    ties longer than a bin leaves its neighbours smaller or empty.
    """
    distinct, position, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    # Twice the middle rank, in whole numbers: no rounding decides on which side of an edge a value falls.
    twice_middle = 2 * ends - counts
    bins: IntArray = (twice_middle * n_bins // (2 * max(len(values), 1))).astype(np.int64)
    assert len(bins) == len(distinct)
    return bins[position]
