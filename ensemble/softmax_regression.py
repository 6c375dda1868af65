"""Multinomial logistic regression with an L2 penalty, fast enough to be fitted some hundred times in a run.

The optimum is that of scikit-learn's LogisticRegression; only the way there is another. Log-probabilities of several
good members are nearly collinear, which costs a plain quasi-Newton method hundreds of steps. Here the variables are
changed so that the curvature is about 1 in every direction, after which a dozen steps suffice.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import minimize

from cv_folds.arrays import FloatArray, IntArray

CURVATURE_ROWS = 2_000
"""About how many rows the curvature is taken from; it decides the speed alone, never the result."""

MAX_ROUNDS = 40
"""Changes of variables; far above what any fit took, and reaching it raises a warning."""

STEPS = 40
"""Most quasi-Newton steps between two of them."""


@dataclass(frozen=True, kw_only=True)
class SoftmaxRegression:
    """The scores of a row are ``coefficients @ features + intercepts``; their softmax are its probabilities."""

    coefficients: FloatArray
    """(n_classes, n_features); columns sum to 0."""
    intercepts: FloatArray
    """(n_classes,) summing to 0."""


def fit_path(
    features: FloatArray,
    labels: IntArray,
    penalties: Sequence[float],
    *,
    start: FloatArray,
    tolerance: float,
) -> list[SoftmaxRegression]:
    """Fit one regression a penalty, each starting from the one before.

    Parameters
    ----------
    features : (n, n_features) float64
        What the classes depend on.
    labels : (n,) int
        Class numbers from 0; each of them occurs.
    penalties : sequence of float
        ``C`` of scikit-learn: the sum of the rows' log losses is minimised, plus half the sum of the squared
        coefficients divided by C. With two classes the penalty is on the difference of their coefficients, as there.
    start : (n_classes, n_features) float64
        Coefficients to begin with; they decide the speed alone.
    tolerance : float
        The largest entry of the gradient of the mean log loss where variables are scaled to a curvature of about 1:
        the mean log loss then lies within about half its square times the number of variables of the optimum.

    Returns
    -------
    list of SoftmaxRegression
        In the order of `penalties`.
    """
    n_classes = int(labels.max()) + 1
    means = features.mean(axis=0)
    rows = np.vstack([(features - means).T, np.ones(len(features))])
    truth = np.zeros((n_classes, len(features)))
    truth[labels, np.arange(len(labels))] = 1
    weights = np.zeros((n_classes, len(rows)))
    weights[:, :-1] = start - start.mean(axis=0)
    weights[:, -1] = np.log(truth.mean(axis=1))
    fitted = []
    for penalty in penalties:
        problem = _Problem(rows, truth, (2 if n_classes == 2 else 1) / (penalty * len(features)))
        weights = problem.solve(weights, tolerance)
        intercepts = weights[:, -1] - weights[:, :-1] @ means
        fitted.append(SoftmaxRegression(coefficients=weights[:, :-1].copy(), intercepts=intercepts - intercepts.mean()))
    return fitted


class _Problem:
    """Mean log loss plus penalty, as a function of (n_classes, n_features + 1) weights, intercepts last."""

    def __init__(self, rows: FloatArray, truth: FloatArray, strength: float) -> None:
        self._rows = rows
        """(n_features + 1, n) with ones last: sums over classes then run along contiguous memory."""
        self._truth = truth
        self._strength = np.full((1, len(rows)), strength)
        self._strength[0, -1] = 0

    def solve(self, weights: FloatArray, tolerance: float) -> FloatArray:
        steepest = np.inf
        for _ in range(MAX_ROUNDS):
            weights, steepest = self._approach(weights, tolerance)
            if steepest <= tolerance:
                return weights
        warnings.warn(f"the regression stopped at a gradient of {steepest:.1e}", RuntimeWarning, stacklevel=3)
        return weights

    def _approach(self, weights: FloatArray, tolerance: float) -> tuple[FloatArray, float]:
        """Take up to `STEPS` steps in variables scaled by the curvature here; return also the gradient left."""
        lower = cholesky(self._curvature(weights), lower=True)

        def moved(step: FloatArray) -> FloatArray:
            unscaled: FloatArray = solve_triangular(lower, step, lower=True, trans=1).reshape(weights.shape)
            return weights + unscaled

        def scaled(step: FloatArray) -> tuple[float, FloatArray]:
            loss, gradient = self._loss(moved(step))
            return loss, solve_triangular(lower, gradient.ravel(), lower=True)

        options = {"gtol": tolerance, "ftol": 0.0, "maxiter": STEPS}
        found = minimize(scaled, np.zeros(weights.size), jac=True, method="L-BFGS-B", options=options)
        return moved(found.x), float(np.abs(found.jac).max())

    def _probabilities(self, weights: FloatArray, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
        scores = weights @ rows
        scores -= scores.max(axis=0)
        shares = np.exp(scores)
        totals = shares.sum(axis=0)
        shares /= totals
        scores -= np.log(totals)
        return shares, scores

    def _loss(self, weights: FloatArray) -> tuple[float, FloatArray]:
        shares, logs = self._probabilities(weights, self._rows)
        n = self._rows.shape[1]
        penalised = self._strength * weights
        loss = -np.vdot(self._truth, logs) / n + np.vdot(penalised, weights) / 2
        shares -= self._truth
        return float(loss), shares @ self._rows.T / n + penalised

    def _curvature(self, weights: FloatArray) -> FloatArray:
        rows = self._rows[:, :: max(1, self._rows.shape[1] // CURVATURE_ROWS)]
        shares, _ = self._probabilities(weights, rows)
        n_classes, width = weights.shape
        curvature = np.zeros((n_classes, width, n_classes, width))
        for first in range(n_classes):
            for second in range(first + 1):
                pair = shares[first] * ((first == second) - shares[second])
                block = (rows * pair) @ rows.T / rows.shape[1]
                curvature[first, :, second] = block
                curvature[second, :, first] = block
        matrix = curvature.reshape(weights.size, weights.size)
        matrix[np.diag_indices(weights.size)] += np.broadcast_to(self._strength, weights.shape).ravel()
        # Nothing changes when one number is added to all intercepts: any curvature will do there.
        ends = np.arange(width - 1, weights.size, width)
        matrix[np.ix_(ends, ends)] += 1 / n_classes
        return matrix
