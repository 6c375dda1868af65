"""Every calibrator as a torch module, for the graph of an ONNX file; in float64, as in numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from cv_folds.arrays import FloatArray
from ensemble.calibration.isotonic import Curve, Isotonic
from ensemble.calibration.logs import FLOOR
from ensemble.calibration.registry import Calibrator
from ensemble.calibration.temperature import Temperature
from ensemble.calibration.uncalibrated import Uncalibrated
from ensemble.calibration.vector import VectorScaling


def calibrating_module(calibrator: Calibrator) -> nn.Module:
    """Return a module from (n, n_classes) float64 probabilities to calibrated ones."""
    return _MODULES[type(calibrator)](calibrator)


class _Scaling(nn.Module):
    """Softmax of scaled and shifted log-probabilities."""

    scales: torch.Tensor
    offsets: torch.Tensor

    def __init__(self, scales: FloatArray, offsets: FloatArray) -> None:
        super().__init__()
        self.register_buffer("scales", torch.tensor(scales))
        self.register_buffer("offsets", torch.tensor(offsets))

    def forward(self, probabilities: torch.Tensor) -> torch.Tensor:
        return (probabilities.clamp(min=FLOOR).log() * self.scales + self.offsets).softmax(dim=1)


class _Curves(nn.Module):
    """A piecewise linear curve for each class, rows then divided by their sum."""

    def __init__(self, curves: tuple[Curve, ...]) -> None:
        super().__init__()
        self.curves = nn.ModuleList([_Curve(curve) for curve in curves])

    def forward(self, probabilities: torch.Tensor) -> torch.Tensor:
        observed = torch.stack([curve(probabilities[:, label]) for label, curve in enumerate(self.curves)], dim=1)
        return observed / observed.sum(dim=1, keepdim=True)


class _Curve(nn.Module):
    starts: torch.Tensor
    ends: torch.Tensor
    lows: torch.Tensor
    rises: torch.Tensor

    def __init__(self, curve: Curve) -> None:
        super().__init__()
        # A curve of one point becomes a flat piece.
        given = curve.given if len(curve.given) > 1 else curve.given[0] + np.array([0.0, 1.0])
        observed = curve.observed if len(curve.observed) > 1 else curve.observed.repeat(2)
        self.register_buffer("starts", torch.tensor(given[:-1]))
        self.register_buffer("ends", torch.tensor(given[1:]))
        self.register_buffer("lows", torch.tensor(observed[:-1]))
        self.register_buffer("rises", torch.tensor(np.diff(observed)))

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        piece = ((given[:, None] >= self.starts).to(torch.int64).sum(dim=1) - 1).clamp(min=0)
        start = self.starts[piece]
        along = ((given - start) / (self.ends[piece] - start)).clamp(min=0.0, max=1.0)
        return self.lows[piece] + along * self.rises[piece]


def _temperature(calibrator: Temperature) -> nn.Module:
    inverse = 1 / calibrator.temperature
    return _Scaling(np.full(calibrator.n_classes, inverse), calibrator.offsets * (1 - inverse))


_MODULES: dict[type[Any], Callable[[Any], nn.Module]] = {
    Uncalibrated: lambda _: nn.Identity(),
    Temperature: _temperature,
    VectorScaling: lambda calibrator: _Scaling(calibrator.scales, calibrator.offsets),
    Isotonic: lambda calibrator: _Curves(calibrator.curves),
}
