"""Area under the risk-coverage curve: how well the confidence tells the right answers from the wrong ones.

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


@dataclass(frozen=True, kw_only=True)
class RiskCoverage:
    """Areas under the risk-coverage curve in r resamples."""

    area: FloatArray
    """(r,) mean risk over all coverages; images of one confidence are answered in random order, and this is the mean
    over these orders."""
    excess: FloatArray
    """(r,) `area` less that of an order which answers every error last."""


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
    run = descent.hits.copy()
    run[:, errors.tied_runs] += descent.tied
    end = _whole(descent.found + descent.false_alarms)
    before = (summed[end] - summed[end - _whole(run)]) / np.maximum(run, 1)
    at_end = harmonic[_whole(total)]
    area = wrong * at_end - np.einsum("rk,rk->r", descent.hits, before)
    best = wrong * at_end - (summed[_whole(total)] - summed[_whole(total - wrong)])
    return RiskCoverage(area=ratio(area, total), excess=ratio(area - best, total))


def _harmonic_numbers(most: int) -> tuple[FloatArray, FloatArray]:
    """Return H(0) to H(most), and the sums of H(0) to H(N - 1) for N from 0 to `most`."""
    numbers = np.arange(most + 1, dtype=np.float64)
    harmonic = np.cumsum(np.concatenate([[0.0], 1 / numbers[1:]]))
    return harmonic, numbers * harmonic - numbers


def _whole(counts: FloatArray) -> IntArray:
    return counts.astype(np.int64)
