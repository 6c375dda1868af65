"""Logits for a nested estimate: beside the usual ones, those of networks that were trained without two folds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from cv_folds.arrays import FloatArray, frozen
from cv_folds.held_out import fold_pairs
from cv_folds.out_of_fold import FoldLogits, OutOfFold, held_out_logits, one_of_each
from cv_folds.splits import Folds


@dataclass(frozen=True, kw_only=True)
class NestedOutOfFold:
    """Every image with what networks said of it that had seen neither its fold nor another one."""

    usual: OutOfFold
    """The images, and the logits of the networks that were trained without their fold alone."""
    logits: FloatArray
    """(n, n_folds, n_backbones, n_classes): at ``[i, k]`` those of the networks that were trained without the fold of
    image i and without fold k, or, where image i is in fold k, the usual ones."""

    def without(self, fold: int) -> OutOfFold:
        """Return the table in which no network has seen fold `fold`, whatever image it speaks of."""
        return replace(self.usual, logits=frozen(self.logits[:, fold]))


def pool_pairs(folds: Folds, usual: OutOfFold, parts: Iterable[FoldLogits]) -> NestedOutOfFold:
    """Join the logits of the jobs that hold out two folds by image id.

    Parameters
    ----------
    folds : Folds
        Which image belongs to which fold.
    usual : OutOfFold
        What `pool` made of the jobs that hold out one fold.
    parts : iterable of FoldLogits
        One for every backbone and pair of folds, in any order.

    Returns
    -------
    NestedOutOfFold

    Raises
    ------
    DataError
        When a job is missing, given twice or unknown, an image is predicted twice, never, or by a network whose
        training included it, or the class order differs.
    """
    assert not folds.holdout
    assert not folds.leaks
    assert usual.image_ids.tolist() == folds.image_ids.tolist()
    pairs = fold_pairs(folds.n_folds)
    by_job = one_of_each(parts, [(backbone, pair) for backbone in usual.backbones for pair in pairs])
    logits = np.repeat(usual.logits[:, None], folds.n_folds, axis=1)
    for column, backbone in enumerate(usual.backbones):
        for pair in pairs:
            rows = np.flatnonzero(np.isin(folds.folds, pair))
            other = sum(pair) - folds.folds[rows]
            logits[rows, other, column] = held_out_logits(by_job[backbone, pair], folds, rows)
    return NestedOutOfFold(usual=usual, logits=frozen(logits))
