"""Weighted voting: a mean of the members' probabilities with fitted weights."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import nnls
from scipy.special import softmax
from threadpoolctl import threadpool_limits

from cv_folds.arrays import FloatArray, IntArray, StrArray, frozen
from cv_folds.clinical import ClinicalTable
from cv_folds.errors import DataError
from ensemble.member_outputs import likelihoods
from ensemble.settings import EnsembleSettings
from ensemble.stored import read_stored

TOLERANCE = 1e-9
"""How far, in nats a row, the log loss may lie above its minimum."""

ROUNDING = 1e-13
"""How far the log loss may seem to rise in a step that in truth lowers it."""

MAX_STEPS = 200
"""Far above what any fit took; reaching it raises a warning."""


@dataclass(frozen=True, kw_only=True)
class WeightedVote:
    """Weighted mean of the softmax probabilities of all backbones.

    Notes
    -----
    The linear opinion pool with weights of maximum likelihood: of all weights that are not negative and sum to 1,
    those with the least log loss of the averaged probabilities. The problem is convex. With log loss in place of
    squared error it is the stacking under constraints of Breiman, "Stacked regressions", Machine Learning 1996; in
    Bayesian statistics it is known as stacking of predictive distributions (Yao et al., Bayesian Analysis 2018).
    """

    weights: FloatArray
    """(n_backbones,) not negative, summing to 1."""
    n_classes: int
    """Length of the last axis of the logits."""

    @property
    def n_backbones(self) -> int:
        """Length of the second axis of the logits."""
        return len(self.weights)

    @classmethod
    def fit(
        cls,
        logits: FloatArray,
        labels: IntArray,
        groups: StrArray,  # noqa: ARG003
        settings: EnsembleSettings,  # noqa: ARG003
        clinical: ClinicalTable | None = None,  # noqa: ARG003
    ) -> Self:
        """Fit the weights to (n, n_backbones, n_classes) logits and (n,) labels; the rest is not used."""
        return cls._fit(logits, labels)

    def refit(
        self,
        logits: FloatArray,
        labels: IntArray,
        groups: StrArray,  # noqa: ARG002
        clinical: ClinicalTable | None = None,  # noqa: ARG002
    ) -> Self:
        """Fit to other rows; there is no hyperparameter."""
        return self._fit(logits, labels)

    @classmethod
    def _fit(cls, logits: FloatArray, labels: IntArray) -> Self:
        with threadpool_limits(limits=1):
            weights = simplex_weights(likelihoods(logits, labels))
        return cls(weights=frozen(weights), n_classes=logits.shape[2])

    def combine(self, logits: FloatArray, clinical: ClinicalTable | None = None) -> FloatArray:  # noqa: ARG002
        """Return (n, n_classes) probabilities from (n, n_backbones, n_classes) logits."""
        assert logits.shape[1:] == (self.n_backbones, self.n_classes)
        return weighted_mean(logits, self.weights)

    def parameters(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"weights": self.weights.tolist(), "n_classes": self.n_classes}

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Read what `parameters` returned; anything else raises `DataError`."""
        stored = read_stored(_Parameters, parameters, "weighted_vote")
        if min(stored.weights) < 0 or abs(sum(stored.weights) - 1) > 1e-9:
            raise DataError("parameters of weighted_vote: weights must not be negative and must sum to 1")
        return cls(weights=frozen(stored.weights, np.float64), n_classes=stored.n_classes)


class _Parameters(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    weights: list[float] = Field(min_length=1)
    n_classes: int = Field(ge=1)


def weighted_mean(logits: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the (n, n_classes) mean of the members' softmax probabilities with (n_backbones,) weights."""
    # Not a matrix product, whose last bits depend on the number of rows.
    mean: FloatArray = (softmax(logits, axis=2) * weights[:, None]).sum(axis=1)
    return mean


def simplex_weights(likely: FloatArray) -> FloatArray:
    """Return the weights with the least log loss of a weighted mean.

    Parameters
    ----------
    likely : (n, n_members) float64
        Positive probabilities that the members give to the truth.

    Returns
    -------
    (n_members,) float64
        Not negative, summing to 1. Members that are alike share their weight equally.

    Notes
    -----
    The minimum over all non-negative weights of the mean of ``-log(likely @ w)`` plus ``sum(w)`` is on the simplex,
    which leaves one constraint less. It is found by Newton's method with halved steps, each a non-negative least
    squares problem (as in Kim, Carbonetto, Stephens & Anitescu, "A fast algorithm for maximum likelihood estimation
    of mixture proportions using sequential quadratic programming", JCGS 2020). At any point of the simplex, the log
    loss lies above its minimum by at most the logarithm of the largest entry of the mean of ``likely / (likely @ w)``,
    which says when to stop.
    """
    n_members = likely.shape[1]
    weights = np.full(n_members, 1 / n_members)

    def objective(candidate: FloatArray) -> float:
        with np.errstate(divide="ignore"):
            return float(-np.log(likely @ candidate).mean() + candidate.sum())

    for _ in range(MAX_STEPS):
        ratios = likely / (likely @ weights)[:, None]
        if np.log(ratios.mean(axis=0).max()) <= TOLERANCE:
            return weights
        target = _newton_target(weights, ratios)
        length, value = 1.0, objective(weights)
        while objective(weights + length * (target - weights)) > value + ROUNDING and length > 1e-12:
            length /= 2
        weights = weights + length * (target - weights)
        weights /= weights.sum()
    warnings.warn("the weights of weighted_vote are not final", RuntimeWarning, stacklevel=2)
    return weights


def _newton_target(weights: FloatArray, ratios: FloatArray) -> FloatArray:
    """Return the non-negative minimum of the quadratic approximation at `weights`."""
    curvature = ratios.T @ ratios / len(ratios)
    # Members that are alike leave the minimum open; the least change from here closes it.
    curvature += 1e-8 * np.eye(len(weights))
    lower = cholesky(curvature, lower=True)
    slope = 1 - ratios.mean(axis=0)
    target: FloatArray = nnls(lower.T, solve_triangular(lower, curvature @ weights - slope, lower=True))[0]
    return target
