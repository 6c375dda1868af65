from __future__ import annotations

import numpy as np
import pytest
from ensemble_samples import synthetic_oof
from scipy.special import softmax

from ensemble.inner_folds import inner_folds
from ensemble.member_outputs import likelihoods
from ensemble.selection import GreedySelection, select
from ensemble.settings import EnsembleSettings
from ensemble.weighting import simplex_weights


def loss(likely: np.ndarray, counts: np.ndarray) -> float:
    return float(-np.log(likely @ counts / counts.sum()).sum())


def step_by_step(likely: np.ndarray, rounds: int) -> np.ndarray:
    """Caruana's loop as one would write it down."""
    bag: list[int] = []
    for _ in range(rounds):
        losses = [-np.log(likely[:, [*bag, member]].mean(axis=1)).sum() for member in range(likely.shape[1])]
        bag.append(int(np.argmin(np.round(losses, 9))))
    return np.bincount(bag, minlength=likely.shape[1])


@pytest.mark.parametrize("seed", range(8))
def test_each_round_adds_the_best_member(seed):
    oof = synthetic_oof(seed, n_backbones=4)
    likely = likelihoods(oof.logits, oof.labels)
    path = select(likely, 12)
    for rounds in (1, 2, 5, 12):
        np.testing.assert_array_equal(path[rounds - 1], step_by_step(likely, rounds))
    assert path[0].argmax() == np.log(likely).sum(axis=0).argmax()


@pytest.mark.parametrize("seed", range(3))
def test_many_rounds_come_close_to_the_best_weights(seed):
    likely = likelihoods(*(getattr(synthetic_oof(seed, n_backbones=4), name) for name in ("logits", "labels")))
    least = -np.log(likely @ simplex_weights(likely)).mean()
    assert least - 1e-9 <= loss(likely, select(likely, 300)[-1]) / len(likely) <= least + 1e-4


@pytest.mark.parametrize("seed", range(4))
def test_the_number_of_rounds_is_the_best_of_the_inner_cross_validation(seed):
    oof = synthetic_oof(seed, n_lesions=90, n_backbones=3)
    settings = EnsembleSettings(selection_rounds=8)
    likely = likelihoods(oof.logits, oof.labels)
    inner = inner_folds(oof.labels, oof.groups, most=5)
    losses = [
        sum(loss(likely[inner == fold], step_by_step(likely[inner != fold], rounds)) for fold in np.unique(inner))
        for rounds in range(1, 9)
    ]
    fitted = GreedySelection.fit(oof.logits, oof.labels, oof.groups, settings)
    rounds = 1 + int(np.argmin(np.round(losses, 9)))
    assert fitted.counts.sum() == rounds
    np.testing.assert_array_equal(fitted.counts, step_by_step(likely, rounds))
    mean = softmax(oof.logits, axis=2)[:, np.repeat(np.arange(3), fitted.counts)].mean(axis=1)
    np.testing.assert_allclose(fitted.combine(oof.logits), mean, rtol=1e-12)


def test_of_identical_members_the_first_is_taken():
    oof = synthetic_oof(1)
    twice = np.repeat(oof.logits[:, :1], 3, axis=1)
    fitted = GreedySelection.fit(twice, oof.labels, oof.groups, EnsembleSettings())
    np.testing.assert_array_equal(fitted.counts, [1, 0, 0])


def test_a_refit_keeps_the_number_of_rounds():
    oof = synthetic_oof(2, n_backbones=3)
    fitted = GreedySelection.fit(oof.logits, oof.labels, oof.groups, EnsembleSettings())
    half = oof.folds == 0
    again = fitted.refit(oof.logits[half], oof.labels[half], oof.groups[half])
    assert again.counts.sum() == fitted.counts.sum()
    likely = likelihoods(oof.logits[half], oof.labels[half])
    np.testing.assert_array_equal(again.counts, step_by_step(likely, int(fitted.counts.sum())))
