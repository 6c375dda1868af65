"""Logarithms of probabilities that stay finite."""

from __future__ import annotations

import numpy as np

from cv_folds.arrays import FloatArray

FLOOR = 1e-12
"""Smaller probabilities are raised to it before a logarithm is taken."""


def floored_logs(probabilities: FloatArray) -> FloatArray:
    """Return the logarithms of an array of probabilities, in nats, none below ``log(FLOOR)``."""
    logs: FloatArray = np.log(np.maximum(probabilities, FLOOR))
    return logs
