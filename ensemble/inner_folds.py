"""The divisions within the fitted rows that choose a hyperparameter of a combiner."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from cv_folds.arrays import IntArray, StrArray


def inner_folds(labels: IntArray, groups: StrArray, *, most: int) -> IntArray:
    """Return numbered inner folds: as many as the rarest class has groups, at least 2 and at most `most`.

    The order of the rows plays no part, nor does any random number.

    Parameters
    ----------
    labels : (n,) int
        Class numbers.
    groups : (n,) str
        What must stay together.
    most : int
        Largest number of folds.

    Returns
    -------
    (n,) int
        The fold of every row, counted from 0.
    """
    fewest = min(len(np.unique(groups[labels == label])) for label in np.unique(labels))
    splitter = StratifiedGroupKFold(n_splits=min(max(fewest, 2), most))
    assignment = np.full(len(labels), -1, dtype=np.int64)
    with warnings.catch_warnings():
        # A class with a single group cannot be in both folds; the fit without it then gives it `ABSENT`.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for fold, (_, held_out) in enumerate(splitter.split(np.zeros(len(labels)), labels, groups)):
            assignment[held_out] = fold
    assert (assignment >= 0).all()
    return assignment
