from __future__ import annotations

import numpy as np
import pytest
from ensemble_samples import synthetic_oof
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from ensemble.member_outputs import member_features
from ensemble.softmax_regression import fit_path

PENALTIES = [1e-4, 1e-2, 1.0, 100.0]


def problem(seed: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    classes = tuple("abcdefg"[: rng.integers(2, 8)])
    oof = synthetic_oof(
        seed, classes=classes, n_backbones=int(rng.integers(1, 4)), n_lesions=int(rng.integers(40, 150))
    )
    logits = oof.logits
    if kind == "extreme":
        logits = logits * 200
    if kind == "identical":
        logits = np.repeat(logits[:, :1], 3, axis=1)
    if kind == "separable":
        logits = logits + 30 * np.eye(len(classes))[oof.labels][:, None]
    features = member_features(logits)
    if kind == "constant":
        features = np.concatenate([features, np.full((len(features), 2), 3.0)], axis=1)
    return features, np.unique(oof.labels, return_inverse=True)[1]


def objective(coefficients: np.ndarray, intercepts: np.ndarray, features: np.ndarray, labels: np.ndarray) -> float:
    logs = log_softmax(features @ coefficients.T + intercepts, axis=1)
    return float(-logs[np.arange(len(labels)), labels].sum())


def fit(features: np.ndarray, labels: np.ndarray, penalties: list[float], seed: int = 0):
    start = np.random.default_rng(seed).normal(size=(labels.max() + 1, features.shape[1])) / 10
    return fit_path(features, labels, penalties, start=start, tolerance=1e-7)


@pytest.mark.parametrize("kind", ["plain", "extreme", "identical", "separable", "constant"])
@pytest.mark.parametrize("seed", range(4))
def test_the_optimum_is_that_of_scikit_learn(kind, seed):
    features, labels = problem(seed, kind)
    for penalty, fitted in zip(PENALTIES, fit(features, labels, PENALTIES), strict=True):
        # Newton's method goes on to the last digits; the default solver stops earlier.
        reference = LogisticRegression(C=penalty, solver="newton-cholesky", tol=1e-8)
        expected = reference.fit(features, labels).predict_proba(features)
        ours = softmax(features @ fitted.coefficients.T + fitted.intercepts, axis=1)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_no_direction_leads_further_down(seed):
    features, labels = problem(seed, "plain")
    n_classes, strength = labels.max() + 1, 1 if labels.max() > 1 else 2
    (fitted,) = fit(features, labels, [0.1])

    def total(vector: np.ndarray) -> float:
        weights = vector.reshape(n_classes, -1)
        penalty = strength * (weights[:, :-1] ** 2).sum() / 2 / 0.1
        return objective(weights[:, :-1], weights[:, -1], features, labels) + penalty

    found = np.column_stack([fitted.coefficients, fitted.intercepts]).ravel()
    further = minimize(total, found, method="L-BFGS-B")
    assert total(found) <= further.fun + 1e-7


def test_neither_start_nor_path_decides_the_result():
    features, labels = problem(0, "plain")
    along = fit(features, labels, PENALTIES)
    for penalty, fitted in zip(PENALTIES, along, strict=True):
        (alone,) = fit(features, labels, [penalty], seed=1)
        scores = [one.coefficients @ features.T + one.intercepts[:, None] for one in (fitted, alone)]
        np.testing.assert_allclose(scores[0], scores[1], rtol=0, atol=1e-4)


def test_one_class_is_certain():
    features = np.random.default_rng(0).normal(size=(9, 4))
    (fitted,) = fit_path(features, np.zeros(9, dtype=int), [1.0], start=np.ones((1, 4)), tolerance=1e-7)
    np.testing.assert_array_equal(fitted.coefficients, np.zeros((1, 4)))
    np.testing.assert_array_equal(fitted.intercepts, [0.0])


def test_an_unfinished_fit_says_so(monkeypatch):
    features, labels = problem(0, "separable")
    monkeypatch.setattr("ensemble.softmax_regression.MAX_ROUNDS", 1)
    monkeypatch.setattr("ensemble.softmax_regression.STEPS", 2)
    with pytest.warns(RuntimeWarning, match="stopped at a gradient of"):
        fit(features, labels, [100.0])
