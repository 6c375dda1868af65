from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax

from cv_folds.training.resampling import draw_epoch
from cv_folds.training.settings import TrainingSettings
from ensemble.priors import UNSEEN, prior_shift

LABELS = np.repeat([0, 1, 2], [10, 90, 900])


@pytest.mark.parametrize(
    "settings",
    [
        TrainingSettings(resampling="weighted", resampling_exponent=1.0),
        TrainingSettings(resampling="weighted", resampling_exponent=0.5),
        TrainingSettings(resampling="over"),
        TrainingSettings(resampling="under"),
        TrainingSettings(resampling="none"),
    ],
    ids=lambda settings: f"{settings.resampling}-{settings.resampling_exponent}",
)
def test_the_shares_shown_are_those_that_training_draws(settings):
    generator = torch.Generator().manual_seed(0)
    labels = torch.from_numpy(LABELS)
    drawn = torch.cat([labels[draw_epoch(labels, settings, generator)] for _ in range(20)])
    shares = np.bincount(drawn.numpy(), minlength=3) / len(drawn)
    shift = prior_shift(LABELS, 3, power=settings.balancing_power)
    np.testing.assert_allclose(shift.shown, shares, atol=0.01)
    np.testing.assert_allclose(shift.natural, [0.01, 0.09, 0.9])


def test_the_adjusted_posterior_is_that_of_bayes_at_the_natural_shares():
    rng = np.random.default_rng(0)
    likelihood = rng.uniform(size=(50, 3))
    shift = prior_shift(LABELS, 3, power=0.5)
    shown, natural = likelihood * shift.shown, likelihood * shift.natural
    adjusted = softmax(shift.adjust(np.log(shown / shown.sum(axis=1, keepdims=True)) + 3), axis=1)
    np.testing.assert_allclose(adjusted, natural / natural.sum(axis=1, keepdims=True), atol=1e-12)


def test_without_resampling_no_logit_moves():
    logits = np.random.default_rng(1).normal(size=(4, 2, 3))
    np.testing.assert_array_equal(prior_shift(LABELS, 3, power=0.0).adjust(logits), logits)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_a_class_without_images_stays_finite_and_rare(power):
    shift = prior_shift(np.array([0, 0, 2, 2]), 3, power=power)
    assert np.isfinite(shift.adjust(np.zeros((1, 3)))).all()
    assert shift.natural[1] == pytest.approx(UNSEEN / (4 + UNSEEN))
