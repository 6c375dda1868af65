"""How far members disagree: mutual information, votes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy

from ensemble.disagreement import spread_of, spread_within_folds, vote_entropy_of


def random_logits(seed: int, n: int = 6, shape: tuple[int, ...] = (2, 3, 4, 5)) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, *shape)) * 3


@pytest.mark.parametrize("seed", range(5))
def test_spread_is_the_mutual_information_between_class_and_member(seed):
    logits = random_logits(seed)
    members = softmax(logits, axis=-1).mean(axis=1).reshape(6, 12, 5)
    divergence = entropy(members, members.mean(axis=1, keepdims=True), axis=-1).mean(axis=1)
    np.testing.assert_allclose(spread_of(logits), divergence, rtol=1e-10)


def test_spread_is_zero_in_agreement_and_largest_in_flat_contradiction():
    same = np.repeat(np.random.default_rng(0).normal(size=(4, 1, 1, 1, 5)), 3, axis=3)
    np.testing.assert_allclose(spread_of(same), 0, atol=1e-12)
    assert (spread_of(same) >= 0).all()
    contradiction = np.eye(3).reshape(1, 1, 1, 3, 3) * 1000
    np.testing.assert_allclose(spread_of(contradiction), math.log(3))


def test_spread_within_folds_is_the_mean_spread_of_the_folds():
    logits = random_logits(1)
    of_folds = [spread_of(logits[:, :, [fold]]) for fold in range(3)]
    np.testing.assert_allclose(spread_within_folds(logits), np.mean(of_folds, axis=0), rtol=1e-12)
    # What the folds have in common is no part of it.
    np.testing.assert_allclose(spread_within_folds(logits[..., [0], :]), 0, atol=1e-12)
    assert (spread_of(logits[..., [0], :]) > 0.01).all()


@pytest.mark.parametrize("seed", range(5))
def test_vote_entropy_is_that_of_the_counted_votes(seed):
    logits = random_logits(seed)
    votes = softmax(logits, axis=-1).mean(axis=1).reshape(6, 12, 5).argmax(axis=-1)
    counted = [entropy(np.unique(row, return_counts=True)[1]) for row in votes]
    np.testing.assert_allclose(vote_entropy_of(logits), counted, atol=1e-12)


def test_votes_of_one_mind_and_of_as_many_as_there_are_members():
    same = np.repeat(np.random.default_rng(0).normal(size=(4, 1, 1, 1, 5)), 3, axis=3)
    assert vote_entropy_of(same).tolist() == [0.0] * 4
    contradiction = np.eye(3).reshape(1, 1, 1, 3, 3)
    np.testing.assert_allclose(vote_entropy_of(contradiction), math.log(3))
    # Members that are far from sure, but name the same class, are no contradiction in votes.
    doubtful = contradiction + np.array([5.0, 0.0, 0.0])
    assert vote_entropy_of(doubtful).tolist() == [0.0]
    assert spread_of(doubtful)[0] > 0


def test_no_image_has_no_value():
    logits = np.empty((0, 1, 2, 3, 4))
    for measure in (spread_of, spread_within_folds, vote_entropy_of):
        assert measure(logits).shape == (0,)
