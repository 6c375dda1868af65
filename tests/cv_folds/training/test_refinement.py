from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from cv_folds.training.refinement import refinement_loss
from cv_folds.training.resampling import class_weights


def sample(n: int = 200, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (n,), generator=generator)
    logits = torch.randn(n, 4, generator=generator, dtype=torch.float64)
    logits[torch.arange(n), labels] += 1.0
    return logits, labels


def test_it_is_the_least_loss_over_a_grid_of_temperatures():
    logits, labels = sample()
    weights = class_weights(labels, 4)
    shares = weights[labels].numpy()
    losses = [
        log_loss(labels, (logits / temperature).softmax(1).numpy(), sample_weight=shares)
        for temperature in np.geomspace(0.2, 5, 301)
    ]
    assert refinement_loss(logits, labels, weights) == pytest.approx(min(losses), abs=1e-4)


@pytest.mark.parametrize("sureness", [0.1, 0.5, 3.0, 10.0])
def test_it_does_not_depend_on_how_sure_the_logits_are(sureness):
    logits, labels = sample()
    weights = torch.ones(4)
    expected = refinement_loss(logits, labels, weights)
    assert refinement_loss(sureness * logits, labels, weights) == pytest.approx(expected, abs=1e-7)


def test_logits_that_separate_the_classes_better_have_less_of_it():
    logits, labels = sample()
    better = logits.clone()
    better[torch.arange(len(labels)), labels] += 1.0
    assert refinement_loss(better, labels, torch.ones(4)) < refinement_loss(logits, labels, torch.ones(4))


def test_logits_without_information_lose_the_entropy_of_a_guess():
    labels = torch.arange(40) % 4
    logits = torch.randn(40, 1).expand(40, 4)
    assert refinement_loss(logits, labels, torch.ones(4)) == pytest.approx(math.log(4))


def test_perfect_logits_lose_nothing():
    labels = torch.arange(40) % 4
    assert refinement_loss(10 * torch.eye(4)[labels], labels, torch.ones(4)) < 1e-6


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_logit_that_is_not_finite_gives_nan(bad):
    logits, labels = sample()
    logits[3, 1] = bad
    assert math.isnan(refinement_loss(logits, labels, torch.ones(4)))
