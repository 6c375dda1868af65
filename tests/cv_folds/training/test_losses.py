from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from cv_folds.training.losses import focal_losses, image_losses
from cv_folds.training.settings import TrainingSettings


def batch(seed: int, n: int = 40, n_classes: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return 4 * torch.randn(n, n_classes, generator=generator), torch.randint(n_classes, (n,), generator=generator)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("seed", range(5))
def test_without_focus_it_is_cross_entropy(seed, smoothing):
    logits, targets = batch(seed)
    expected = functional.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")
    losses = focal_losses(logits, targets, gamma=0.0, label_smoothing=smoothing)
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_focal_loss_is_the_formula_of_the_paper(gamma):
    logits, targets = batch(3)
    p = logits.double().softmax(1)[torch.arange(len(targets)), targets]
    torch.testing.assert_close(
        focal_losses(logits, targets, gamma=gamma).double(), -((1 - p) ** gamma) * p.log(), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_sure_network_has_a_finite_gradient(gamma, smoothing):
    logits = torch.tensor([[200.0, 0.0, -200.0], [-200.0, 0.0, 200.0]], requires_grad=True)
    losses = focal_losses(logits, torch.tensor([0, 0]), gamma=gamma, label_smoothing=smoothing)
    losses.sum().backward()
    assert torch.isfinite(losses).all()
    assert torch.isfinite(logits.grad).all()
    assert losses[1] > losses[0]


@pytest.mark.parametrize("loss", ["cross_entropy", "focal"])
def test_class_weights_are_factors_on_the_loss_of_an_image(loss):
    logits, targets = batch(1)
    weights = torch.tensor([0.5, 1.0, 2.0, 3.0, 0.25])
    settings = TrainingSettings(loss=loss, label_smoothing=0.1)
    plain = image_losses(logits, targets, settings, None)
    torch.testing.assert_close(image_losses(logits, targets, settings, weights), weights[targets] * plain)


def test_weighted_cross_entropy_is_that_of_torch():
    logits, targets = batch(2)
    weights = torch.tensor([0.5, 1.0, 2.0, 3.0, 0.25])
    losses = image_losses(logits, targets, TrainingSettings(label_smoothing=0.0), weights)
    torch.testing.assert_close(losses, functional.cross_entropy(logits, targets, weight=weights, reduction="none"))
