"""Areas under ROC curves of several models on the same images, with their covariance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from cv_folds.arrays import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, kw_only=True)
class Areas:
    """Areas under the ROC curves of m models."""

    auc: FloatArray
    """(m,) areas, ties counting half."""
    covariance: FloatArray
    """(m, m) of the areas over samples of clusters; NaN when either kind of images lies in a single cluster."""


def correlated_areas(scores: FloatArray, positive: BoolArray, clusters: IntArray) -> Areas:
    """Estimate the areas and how they vary together.

    Parameters
    ----------
    scores : (m, n) array of float64
        Scores of m models for n images.
    positive : (n,) array of bool
        Which images are of the class; some are, and some are not.
    clusters : (n,) array of int64
        Numbers from 0 of what was sampled: the lesions. A cluster may hold images of both kinds.

    Returns
    -------
    Areas
        Obuchowski, Biometrics 53 (1997) 567-578. With one image a cluster it is the estimator of DeLong, DeLong and
        Clarke-Pearson, Biometrics 44 (1988) 837-845. Ranks give the share of pairs won by each image (Sun and Xu, IEEE
        Signal Process. Lett. 21 (2014) 1389-1393).
    """
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    won = np.empty(scores.shape)
    for shares, model in zip(won, scores, strict=True):
        ranks = rankdata(model)
        shares[positive] = (ranks[positive] - rankdata(model[positive])) / n_negative
        shares[~positive] = 1 - (ranks[~positive] - rankdata(model[~positive])) / n_positive
    auc: FloatArray = won[:, positive].mean(axis=1)
    from_positive = _cluster_sums(won - auc[:, np.newaxis], positive, clusters)
    from_negative = _cluster_sums(won - auc[:, np.newaxis], ~positive, clusters)
    cross = _unbiased(clusters) * from_positive @ from_negative.T
    covariance = (
        _unbiased(clusters[positive]) * (from_positive @ from_positive.T) / n_positive**2
        + _unbiased(clusters[~positive]) * (from_negative @ from_negative.T) / n_negative**2
        + (cross + cross.T) / (n_positive * n_negative)
    )
    return Areas(auc=auc, covariance=covariance)


def _cluster_sums(deviations: FloatArray, rows: BoolArray, clusters: IntArray) -> FloatArray:
    """Return (m, number of clusters) sums over the rows of each cluster."""
    n_clusters = int(clusters.max()) + 1
    return np.stack([np.bincount(clusters[rows], weights=row[rows], minlength=n_clusters) for row in deviations])


def _unbiased(clusters: IntArray) -> float:
    n = len(np.unique(clusters))
    return n / (n - 1) if n > 1 else np.nan
