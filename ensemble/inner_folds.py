"""Choosing a hyperparameter of a combiner by cross-validation within the rows that it is fitted on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cv_folds.arrays import BoolArray, FloatArray, IntArray, StrArray


def choose(
    labels: IntArray, groups: StrArray, *, most: int, losses: Callable[[BoolArray, BoolArray], FloatArray]
) -> int:
    """Return the number of the candidate with the smallest log loss in grouped, stratified cross-validation.

    Parameters
    ----------
    labels : (n,) int
        Class numbers.
    groups : (n,) str
        Rows of one group are never divided between fitting and scoring.
    most : int
        Largest number of folds.
    losses : callable
        Takes two (n,) masks, the rows to fit on and those to score, and returns the summed log loss of every
        candidate on the latter.

    Returns
    -------
    int
        Of equally good candidates the first; also the first when there is nothing to choose by: one class only, or
        one group.
    """
    if len(np.unique(labels)) == 1 or len(np.unique(groups)) == 1:
        return 0
    folds = inner_folds(labels, groups, most=most)
    return int(np.argmin(sum(losses(folds != fold, folds == fold) for fold in np.unique(folds))))


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

    Notes
    -----
    The method of scikit-learn's `StratifiedGroupKFold` without shuffling, which takes ten times as long: groups are
    dealt out, those with the most uneven class counts first, each to the fold that leaves the classes' shares most
    even, and to the smallest of those that are equal in this. A class with a single group is in one fold only.
    """
    fewest = min(len(np.unique(groups[labels == label])) for label in np.unique(labels))
    n_folds = min(max(fewest, 2), most)
    _, classes = np.unique(labels, return_inverse=True)
    _, members = np.unique(groups, return_inverse=True)
    counts = np.zeros((members.max() + 1, classes.max() + 1))
    np.add.at(counts, (members, classes), 1)
    return _deal_out(counts, n_folds)[members]


def _deal_out(counts: FloatArray, n_folds: int) -> IntArray:
    """Return the fold of every group from its (n_groups, n_classes) counts."""
    shares = counts / counts.sum(axis=0)
    sizes = counts.sum(axis=1).tolist()
    held = np.zeros((n_folds, counts.shape[1]))
    held_sizes = [0.0] * n_folds
    fold_of = np.zeros(len(counts), dtype=np.int64)
    for group in np.argsort(-counts.std(axis=1), kind="stable").tolist():
        # The variance over the folds, for each fold that the group could join.
        joined = (held**2).sum(axis=0) + shares[group] * (2 * held + shares[group])
        means = (held.sum(axis=0) + shares[group]) / n_folds
        unevenness = np.sqrt(np.maximum(joined / n_folds - means**2, 0)).mean(axis=1).tolist()
        best = 0
        for fold in range(1, n_folds):
            level = abs(unevenness[fold] - unevenness[best]) <= 1e-8 + 1e-5 * unevenness[best]
            if (level and held_sizes[fold] < held_sizes[best]) or (not level and unevenness[fold] < unevenness[best]):
                best = fold
        fold_of[group] = best
        held[best] += shares[group]
        held_sizes[best] += sizes[group]
    return fold_of
