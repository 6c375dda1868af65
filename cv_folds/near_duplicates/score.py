"""From evidence to the probability that two images show one lesion.

A logistic regression on five figures of the evidence, fitted on HAM10000: pairs of one lesion id against pairs of two
diagnoses, of one half of the lesions. docs/results/near-duplicates.md has the command that fitted it, and recall and
precision on the other half.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cv_folds.arrays import FloatArray
from cv_folds.near_duplicates.evidence import Evidence

WEIGHTS = (4.1, -0.72, 1.67, 4.47, 4.25)
"""In the order of `figures`."""
INTERCEPT = -10.33
CONFIRMED = 3.0
"""Log-odds from which a pair is merged."""
DOUBTFUL = 0.0
"""Log-odds from which a pair is shown to a person."""
FARTHEST_MIDDLES = 0.5
"""Offset beyond which a pair is not merged: two neighbouring lesions that share a corner of both images.

A rule and no figure of the regression, since one lesion id hardly ever has such pairs.
"""


def figures(evidence: Sequence[Evidence]) -> FloatArray:
    """Return the (n, 5) figures that the probability is made of."""
    rows = [
        (
            np.log(pair.alignment.inliers),
            np.log(pair.alignment.matches),
            pair.agreement.correlations[1],
            pair.agreement.local[1],
            pair.agreement.colour,
        )
        for pair in evidence
    ]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(WEIGHTS))


def log_odds(evidence: Sequence[Evidence]) -> FloatArray:
    """Return (n,) the natural logarithm of the odds that each pair shows one lesion."""
    return np.asarray(figures(evidence) @ np.array(WEIGHTS) + INTERCEPT)


def probability(odds: FloatArray) -> FloatArray:
    """Return (n,) probabilities for (n,) log-odds."""
    return np.asarray(1 / (1 + np.exp(-odds)))
