from __future__ import annotations

import pytest
import torch
from torch import nn

from cv_folds.training.backbones import build_backbone
from ensemble.batch_norm import fold_batch_norm


def trained(name: str) -> nn.Module:
    """A network whose normalisations do something."""
    network = build_backbone(name, 4, image_size=64).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(std=0.1)
    return network


def left(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


# The last three keep some or all: norms before convolutions, pairs that are not recognised, none to begin with.
@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("resnet18", False), ("resnet50", False), ("mobilenet_v3_small", False), ("efficientnet_b0", False),
        ("shufflenet_v2_x0_5", False), ("densenet121", True), ("googlenet", True), ("squeezenet1_1", False),
    ],
)  # fmt: skip
def test_the_function_stays_the_same(name: str, kept: bool) -> None:
    torch.manual_seed(0)
    network = trained(name)
    images = torch.randn(2, 3, 64, 64)
    names = {path for path, _ in network.named_modules()}
    with torch.inference_mode():
        expected = network(images)
        fold_batch_norm(network)
        folded = network(images)
    assert (left(network) > 0) == kept
    assert {path for path, _ in network.named_modules()} == names
    torch.testing.assert_close(folded, expected, rtol=0, atol=2e-5 * float(expected.abs().max()))
    assert expected.std() > 0


def test_a_normalisation_that_follows_something_else_is_left() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.BatchNorm2d(4)).eval()
    fold_batch_norm(network)
    assert left(network) == 2


class NormalisationWithActivation(nn.BatchNorm2d):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images).relu()


def test_a_normalisation_that_does_more_is_left() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), NormalisationWithActivation(4)).eval()
    images = torch.randn(2, 3, 8, 8)
    expected = network(images)
    assert (expected == 0).any()
    fold_batch_norm(network)
    assert torch.equal(network(images), expected)
