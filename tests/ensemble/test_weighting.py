from __future__ import annotations

import numpy as np
import pytest
from ensemble_samples import synthetic_oof
from scipy.optimize import minimize, minimize_scalar
from scipy.special import softmax

from ensemble.member_outputs import FLOOR, likelihoods
from ensemble.settings import EnsembleSettings
from ensemble.weighting import WeightedVote, simplex_weights

SETTINGS = EnsembleSettings()


def loss(likely: np.ndarray, weights: np.ndarray) -> float:
    return float(-np.log(likely @ weights).mean())


def scipys_weights(likely: np.ndarray) -> np.ndarray:
    n_members = likely.shape[1]
    found = minimize(
        lambda weights: loss(likely, weights),
        np.full(n_members, 1 / n_members),
        jac=lambda weights: -(likely / (likely @ weights)[:, None]).mean(axis=0),
        method="SLSQP",
        bounds=[(0, 1)] * n_members,
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1, "jac": np.ones_like},
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    return found.x


def random_likelihoods(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    n_members = int(rng.integers(1, 8))
    skill = rng.uniform(0.3, 4, size=n_members)
    likely = rng.beta(skill, 1, size=(int(rng.integers(5, 400)), n_members))
    return np.maximum(likely, 1e-6)


@pytest.mark.parametrize("seed", range(25))
def test_the_weights_are_the_optimum_on_the_simplex(seed):
    likely = random_likelihoods(seed)
    weights = simplex_weights(likely)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert loss(likely, weights) <= loss(likely, scipys_weights(likely)) + 1e-9
    # The conditions of Karush, Kuhn and Tucker.
    slopes = (likely / (likely @ weights)[:, None]).mean(axis=0)
    assert slopes.max() <= 1 + 1e-8
    np.testing.assert_allclose(slopes[weights > 1e-3], 1, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_of_two_members_the_best_mixture_is_found(seed):
    oof = synthetic_oof(seed)
    vote = WeightedVote.fit(oof.logits, oof.labels, oof.groups, SETTINGS)
    truth = softmax(oof.logits, axis=2)[np.arange(len(oof.labels)), :, oof.labels]
    assert truth.min() > FLOOR
    direct = minimize_scalar(lambda w: loss(truth, np.array([w, 1 - w])), bounds=(0, 1), options={"xatol": 1e-10})
    assert loss(truth, vote.weights) <= direct.fun + 1e-9
    mixed = np.tensordot(softmax(oof.logits, axis=2), vote.weights, axes=(1, 0))
    np.testing.assert_allclose(vote.combine(oof.logits), mixed, rtol=1e-12)


def test_identical_members_share_their_weight():
    likely = np.repeat(random_likelihoods(3)[:, :2], [3, 1], axis=1)
    weights = simplex_weights(likely)
    np.testing.assert_allclose(weights[:3], weights[0], atol=1e-7)
    np.testing.assert_allclose([weights[:3].sum(), weights[3]], simplex_weights(likely[:, 2:]), atol=1e-4)


def test_a_member_that_is_always_best_has_all_the_weight():
    others = np.random.default_rng(0).uniform(0.1, 0.5, size=(50, 2))
    weights = simplex_weights(np.column_stack([others, np.full(50, 0.6)]))
    np.testing.assert_allclose(weights, [0, 0, 1], atol=1e-7)


def test_a_constant_member_saves_the_rows_that_the_other_gets_wrong():
    rng = np.random.default_rng(0)
    likely = np.column_stack([np.where(rng.random(500) < 0.1, 1e-6, 0.99), np.full(500, 1 / 3)])
    weights = simplex_weights(likely)
    assert 0.05 < weights[1] < 0.5
    assert loss(likely, weights) < min(loss(likely, np.eye(2)[0]), loss(likely, np.eye(2)[1]))


def test_certain_and_wrong_counts_no_more_than_the_floor():
    oof = synthetic_oof(0)
    far, farther = (WeightedVote.fit(oof.logits * scale, oof.labels, oof.groups, SETTINGS) for scale in (200, 2000))
    assert likelihoods(oof.logits * 200, oof.labels).min() == pytest.approx(FLOOR)
    np.testing.assert_allclose(far.weights, farther.weights, atol=0.05)


def test_unfinished_weights_say_so(monkeypatch):
    monkeypatch.setattr("ensemble.weighting.MAX_STEPS", 1)
    with pytest.warns(RuntimeWarning, match="not final"):
        simplex_weights(random_likelihoods(1))
