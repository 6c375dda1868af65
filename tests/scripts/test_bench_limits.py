from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from cv_folds.training.settings import TrainingSettings
from cv_folds.training.step import Stepper

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


class Network(nn.Module):
    """A dense, a depthwise and a grouped convolution, then a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 4, 1, groups=2)
        )
        self.head = nn.Linear(4 * 16 * 16, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.convolutions(images).flatten(1))


@pytest.fixture
def stepper() -> Stepper:
    model, settings = Network(), TrainingSettings(image_size=16)
    return Stepper(model, forward=model, settings=settings, peak=1e-3, steps=10, bfloat16=False, micro_batch=64)


def test_operations_of_a_step_are_those_counted_by_hand(stepper: Stepper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from bench.limits import demand_of

    batch, places = 6, 16 * 16
    demand = demand_of(stepper, torch.randn(batch, 3, 16, 16), torch.arange(batch) % 5)
    first, others = 8 * 3 * 9 * places, (8 * 1 * 9 + 4 * 4) * places + 5 * 4 * places
    # Forward, gradient of the kernel, gradient of the images; the first layer's images need none.
    assert demand.flops == 2 * batch * (2 * first + 3 * others)
    weights = sum(parameter.nbytes for parameter in stepper.model.parameters())
    assert demand.bytes_moved > 4 * weights + batch * places * 4 * (3 + 8 + 8 + 4) * 2
