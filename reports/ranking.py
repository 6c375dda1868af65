"""Area under the ROC curve and average precision for many weightings of the same scores.

A resample only changes how often a group counts, never the order of the scores. So the scores are sorted once, and
each resample is a sum of its group counts along that order. Only the runs of ties that hold an image of the
class matter, which keeps rare classes cheap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from cv_folds.arrays import BoolArray, FloatArray, IntArray
from reports.confusion_metrics import ratio


@dataclass(frozen=True, kw_only=True)
class RankingMetrics:
    """One class against the rest in r resamples; NaN where undefined."""

    auc: FloatArray
    """(r,) area under the ROC curve, ties counting half: undefined without images of the class or of the rest."""
    average_precision: FloatArray
    """(r,) step-wise area under the precision-recall curve: undefined without images of the class."""


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The order of the scores of one class, by group.

    A run is a score that at least one image of the class has; runs are numbered from the highest score down.
    """

    of_class: Any
    """(k, n_groups) sparse: images of the class, by run and group."""
    of_rest: Any
    """(k + 1, n_groups) sparse: images of the other classes, by the first run not above them; the rest comes last."""
    tied_runs: IntArray
    """(m,) the runs whose score an image of another class has too."""
    tied_rest: Any
    """(m, n_groups) sparse: images of the other classes with just that score, by tied run and group."""


def rank(scores: FloatArray, of_class: BoolArray, groups: IntArray, n_groups: int) -> Ranking:
    """Sort the scores of one class.

    Parameters
    ----------
    scores : (n,) array of float64
        Predicted probabilities of the class.
    of_class : (n,) array of bool
        Which images are of the class.
    groups : (n,) array of int64
        Group numbers from 0 to ``n_groups - 1``.
    n_groups : int
        Number of groups.
    """
    runs, run_of_class = np.unique(-scores[of_class], return_inverse=True)
    rest, groups_of_rest = -scores[~of_class], groups[~of_class]
    run_of_rest = np.searchsorted(runs, rest)
    tied = np.append(runs, np.inf)[run_of_rest] == rest
    tied_runs, row = np.unique(run_of_rest[tied], return_inverse=True)
    return Ranking(
        of_class=_count(run_of_class, groups[of_class], len(runs), n_groups),
        of_rest=_count(run_of_rest, groups_of_rest, len(runs) + 1, n_groups),
        tied_runs=tied_runs,
        tied_rest=_count(row, groups_of_rest[tied], len(tied_runs), n_groups),
    )


def _count(rows: IntArray, columns: IntArray, n_rows: int, n_columns: int) -> Any:
    """Count pairs of row and column in a sparse matrix."""
    # 32 bits hold two thousand million images and are twice as fast as 64.
    ones = np.ones(len(rows), dtype=np.int32)
    return csr_array((ones, (rows, columns)), shape=(n_rows, n_columns), dtype=np.int32)


@dataclass(frozen=True, kw_only=True)
class Descent:
    """What lies at and above each run, from the highest score down, in r resamples."""

    hits: FloatArray
    """(r, k) images of the class in the run."""
    found: FloatArray
    """(r, k) images of the class in the run or above."""
    false_alarms: FloatArray
    """(r, k) images of the other classes with the score of the run or above."""
    tied: FloatArray
    """(r, m) images of the other classes with just the score of the run, for each of `Ranking.tied_runs`."""
    n_class: FloatArray
    """(r,) images of the class."""
    n_rest: FloatArray
    """(r,) images of the other classes."""


def descend(ranking: Ranking, counts: NDArray[np.int32]) -> Descent:
    """Sum along the order of the scores in every resample.

    Parameters
    ----------
    ranking : Ranking
        From `rank`.
    counts : (n_groups, r) array of int32, C order
        How often each group is in each resample.
    """
    hits = _by_resample(ranking.of_class @ counts)
    through = np.cumsum(_by_resample(ranking.of_rest @ counts), axis=1, dtype=np.int32)
    return Descent(
        hits=hits.astype(np.float64),
        found=np.cumsum(hits, axis=1, dtype=np.int32).astype(np.float64),
        false_alarms=through[:, :-1].astype(np.float64),
        tied=_by_resample(ranking.tied_rest @ counts).astype(np.float64),
        n_class=hits.sum(axis=1, dtype=np.float64),
        n_rest=through[:, -1].astype(np.float64),
    )


def _by_resample(counts: NDArray[np.int32]) -> NDArray[np.int32]:
    """Put each resample's counts side by side: whole numbers there add up twenty times as fast."""
    return np.ascontiguousarray(counts.T)


def ranking_metrics(ranking: Ranking, descent: Descent) -> RankingMetrics:
    """Compute area under the ROC curve and average precision of every resample.

    Parameters
    ----------
    ranking : Ranking
        From `rank`.
    descent : Descent
        From `descend`.

    Returns
    -------
    RankingMetrics
        Equal to scikit-learn's ``roc_auc_score`` and ``average_precision_score`` on the repeated rows.
    """
    hits, through = descent.hits, descent.false_alarms
    # Pairs in which the image of the other class scores higher or the same; the same counts half.
    lost = np.einsum("rk,rk->r", hits, through)
    lost -= np.einsum("rm,rm->r", hits[:, ranking.tied_runs], descent.tied) / 2
    precision = descent.found + through
    np.maximum(precision, 1, out=precision)
    np.divide(descent.found, precision, out=precision)
    pairs = descent.n_class * descent.n_rest
    return RankingMetrics(
        auc=ratio(pairs - lost, pairs),
        average_precision=ratio(np.einsum("rk,rk->r", hits, precision), descent.n_class),
    )
