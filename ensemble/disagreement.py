"""How far the members of an ensemble disagree about an image."""

from __future__ import annotations

import numpy as np
from scipy.special import entr, softmax

from cv_folds.arrays import FloatArray


def spread_of(logits: FloatArray) -> FloatArray:
    """Measure how far the members of an ensemble disagree about each image.

    Parameters
    ----------
    logits : (n, n_views, n_folds, n_backbones, n_classes) float64
        Outputs of all members; the probabilities of a member are averaged over the views.

    Returns
    -------
    (n,) float64
        In nats, from 0 to ``log(n_classes)``.

    Notes
    -----
    The mutual information between the class and the choice of a member, each member being equally likely: the
    entropy of the members' mean probabilities minus the mean entropy of the members (Depeweg et al., "Decomposition
    of uncertainty in Bayesian deep learning", ICML 2018). It is also the mean Kullback-Leibler divergence from
    a member to the mean, the disagreement of Lakshminarayanan, Pritzel & Blundell (NeurIPS 2017). All members count,
    over folds and backbones, before the combiner.
    """
    members = softmax(logits, axis=-1).mean(axis=1).reshape(len(logits), -1, logits.shape[-1])
    gap = entr(members.mean(axis=1)).sum(axis=-1) - entr(members).sum(axis=-1).mean(axis=1)
    # Rounding can leave a tiny negative rest where all members agree.
    spread: FloatArray = np.maximum(gap, 0.0)
    return spread
