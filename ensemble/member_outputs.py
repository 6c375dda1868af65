"""What combiners take from the members' logits."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax

from cv_folds.arrays import FloatArray, IntArray

FLOOR = 1e-6
"""Least probability of a member that counts: one member's certainty must not outweigh everything else."""


def member_logs(logits: FloatArray) -> FloatArray:
    """Return (n, n_backbones, n_classes) log-probabilities of at least the log of `FLOOR`, in nats."""
    logs: FloatArray = np.maximum(log_softmax(logits, axis=2), np.log(FLOOR))
    return logs


def member_features(logits: FloatArray) -> FloatArray:
    """Return `member_logs` as (n, n_backbones * n_classes) features, backbone by backbone."""
    return member_logs(logits).reshape(len(logits), logits.shape[1] * logits.shape[2])


def likelihoods(logits: FloatArray, labels: IntArray) -> FloatArray:
    """Return the (n, n_backbones) probabilities that the members give to the true class, none below `FLOOR`."""
    likely: FloatArray = np.exp(member_logs(logits)[np.arange(len(labels)), :, labels])
    return likely
