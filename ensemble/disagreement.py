"""How far the members of an ensemble disagree about an image; all members count, before any combiner."""

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
    of uncertainty in Bayesian deep learning for efficient and risk-sensitive learning", ICML 2018). It is also the mean
    Kullback-Leibler divergence from a member to the mean, the disagreement of Lakshminarayanan, Pritzel & Blundell
    (NeurIPS 2017).
    """
    return mutual_information(_all_members(logits))


def spread_within_folds(logits: FloatArray) -> FloatArray:
    """Measure how far the members that share a fold disagree, averaged over the folds.

    Parameters
    ----------
    logits : (n, n_views, n_folds, n_backbones, n_classes) float64
        As for `spread_of`.

    Returns
    -------
    (n,) float64
        In nats. Unlike `spread_of`, it means the same whether an image has the members of all folds, as a new one
        does, or those of one fold, as an image of the training data does that only they had not seen.
    """
    members = _members(logits)
    spread: FloatArray = np.stack(
        [mutual_information(members[:, fold]) for fold in range(members.shape[1])], axis=1
    ).mean(axis=1)
    return spread


def vote_entropy_of(logits: FloatArray) -> FloatArray:
    """Measure how divided the votes of the members are.

    Parameters
    ----------
    logits : (n, n_views, n_folds, n_backbones, n_classes) float64
        As for `spread_of`.

    Returns
    -------
    (n,) float64
        In nats: 0 when all members find the same class most probable, at most the logarithm of the number of
        classes or members.

    Notes
    -----
    The entropy of the shares of the votes (Dagan and Engelson, "Committee-based sampling for training probabilistic
    classifiers", ICML 1995), without their division by its largest value. Of classes that a member finds equally
    probable, the first has its vote.
    """
    votes = _all_members(logits).argmax(axis=2)
    shares = (votes[..., None] == np.arange(logits.shape[-1])).mean(axis=1)
    entropy: FloatArray = entr(shares).sum(axis=1)
    return entropy


def _members(logits: FloatArray) -> FloatArray:
    """Return the (n, n_folds, n_backbones, n_classes) probabilities of every member, averaged over the views."""
    members: FloatArray = softmax(logits, axis=-1).mean(axis=1)
    return members


def _all_members(logits: FloatArray) -> FloatArray:
    """Return the (n, n_members, n_classes) probabilities of the members of all folds, averaged over the views."""
    members = _members(logits)
    return members.reshape(len(members), members.shape[1] * members.shape[2], members.shape[3])


def mutual_information(members: FloatArray) -> FloatArray:
    """Return the (n,) mutual information in nats from (n, n_members, n_classes) probabilities, as `spread_of` does."""
    gap = entr(members.mean(axis=1)).sum(axis=-1) - entr(members).sum(axis=-1).mean(axis=1)
    # Rounding can leave a tiny negative rest where all members agree.
    information: FloatArray = np.maximum(gap, 0.0)
    return information
