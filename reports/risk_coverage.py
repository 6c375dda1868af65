"""Risk-coverage curve and the area under it: how well the confidence tells the right answers from the wrong ones.

The images are answered from the most confident down; the risk at a coverage is the share of errors among those answered
so far. The area is the mean of the risk over all coverages 1/n, 2/n, ..., 1 (Geifman and El-Yaniv, Selective
classification for deep neural networks, NeurIPS 2017; excess area: Geifman, Uziel, El-Yaniv, Bias-reduced uncertainty
estimation for deep neural classifiers, ICLR 2019).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cv_folds.arrays import FloatArray, IntArray
from reports.confusion_metrics import ratio
from reports.ranking import Descent, Ranking

COVERAGES = tuple(percent / 100 for percent in range(2, 101, 2))
"""Shares of the images at which the curve is given."""


@dataclass(frozen=True, kw_only=True)
class RiskCoverage:
    """Areas under the risk-coverage curve in r resamples."""

    area: FloatArray
    """(r,) mean risk over all coverages; images of one confidence are answered in random order, and this is the mean
    over these orders."""
    excess: FloatArray
    """(r,) `area` less that of an order which answers every error last."""
    risk: FloatArray
    """(r, t) share of errors among the most confident images, at each of `COVERAGES`; `curve_at` has the details."""


def risk_coverage(errors: Ranking, descent: Descent) -> RiskCoverage:
    """Compute the areas of every resample.

    Parameters
    ----------
    errors : Ranking
        Of the highest probabilities, with the wrong answers as the class.
    descent : Descent
        Of `errors` in the resamples.

    Notes
    -----
    An error at position p counts 1/i in the risk at every position i from p on, n images in all: together
    H(n) - H(p - 1), with the harmonic numbers H. So only the positions of the errors matter.
    """
    wrong, total = descent.n_class, descent.n_class + descent.n_rest
    harmonic, summed = _harmonic_numbers(int(total.max(initial=0)))
    run = _run_sizes(errors, descent)
    end = _whole(descent.found + descent.false_alarms)
    before = (summed[end] - summed[end - _whole(run)]) / np.maximum(run, 1)
    at_end = harmonic[_whole(total)]
    area = wrong * at_end - np.einsum("rk,rk->r", descent.hits, before)
    best = wrong * at_end - (summed[_whole(total)] - summed[_whole(total - wrong)])
    return RiskCoverage(
        area=ratio(area, total), excess=ratio(area - best, total), risk=curve_at(np.array(COVERAGES), errors, descent)
    )


def curve_at(coverages: FloatArray, errors: Ranking, descent: Descent) -> FloatArray:
    """Compute the share of errors among the most confident images of every resample.

    Parameters
    ----------
    coverages : (t,) array of float64
        Shares of the images that are answered, above 0, up to 1.
    errors, descent
        As for `risk_coverage`.

    Returns
    -------
    (r, t) array of float64
        Where a coverage falls between two images, or into a run of images with one confidence, the number of errors is
        interpolated linearly, which within such a run is its mean over random orders.
    """
    wrong, total = descent.n_class, descent.n_class + descent.n_rest
    answered = coverages * total[:, np.newaxis]
    end, run = descent.found + descent.false_alarms, _run_sizes(errors, descent)
    # Rows one behind the other, each above the one before, so that one search serves all of them.
    shift = (total.max(initial=0) + 1) * np.arange(len(total))[:, np.newaxis]
    n_runs = end.shape[1]
    found_at = np.searchsorted((end + shift).ravel(), (answered + shift).ravel()).reshape(answered.shape)
    place = found_at - n_runs * np.arange(len(total))[:, np.newaxis]
    beyond = place >= n_runs
    if n_runs == 0:
        return np.zeros_like(answered)
    place = np.minimum(place, n_runs - 1)
    hits, size, last = (np.take_along_axis(values, place, axis=1) for values in (descent.hits, run, end))
    share = np.clip((answered - (last - size)) / np.maximum(size, 1), 0, 1)
    before = np.take_along_axis(descent.found, place, axis=1) - hits
    return ratio(np.where(beyond, wrong[:, np.newaxis], before + hits * share), answered)


def _run_sizes(errors: Ranking, descent: Descent) -> FloatArray:
    """Return the number of images with the confidence of each run, right or wrong."""
    run = descent.hits.copy()
    run[:, errors.tied_runs] += descent.tied
    return run


def _harmonic_numbers(most: int) -> tuple[FloatArray, FloatArray]:
    """Return H(0) to H(most), and the sums of H(0) to H(N - 1) for N from 0 to `most`."""
    numbers = np.arange(most + 1, dtype=np.float64)
    harmonic = np.cumsum(np.concatenate([[0.0], 1 / numbers[1:]]))
    return harmonic, numbers * harmonic - numbers


def _whole(counts: FloatArray) -> IntArray:
    return counts.astype(np.int64)
