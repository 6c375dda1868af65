"""Limits that a stated share of new lesions stays below, each lesion counting once however many images it has."""

from __future__ import annotations

import numpy as np

from cv_folds.arrays import FloatArray, StrArray


def lesion_quantile(values: FloatArray, groups: StrArray, level: float) -> float | None:
    """Return the least value that an image of a new lesion does not exceed with probability `level`.

    Parameters
    ----------
    values : (n,) float64
        One an image.
    groups : (n,) str
        The lesion of each image.
    level : float
        Between 0 and 1.

    Returns
    -------
    float or None
        One of `values`; None when there are too few lesions to promise that level.

    Notes
    -----
    Images of a lesion are not exchangeable with those of others, lesions are: each of the G lesions carries the weight
    1 / (G + 1), shared equally by its images, and the unseen lesion carries the last 1 / (G + 1) at infinity (Dunn,
    Wasserman & Ramdas, "Distribution-free prediction sets for two-layer hierarchical models", JASA 2023; Lee, Barber &
    Willett, "Distribution-free inference with hierarchical data", 2023). With one image a lesion this is the usual
    ``ceil((n + 1) * level)``-th smallest value.
    """
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(1 / sizes[group[order]])
    # The slack keeps a sum like 0.1 + 0.2 from falling short of the rank that it equals.
    enough = np.flatnonzero(reached >= level * (len(sizes) + 1) - 1e-9)
    return float(values[order[enough[0]]]) if len(enough) else None
