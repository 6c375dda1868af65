"""Temperature scaling: one number that makes all probabilities softer or sharper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from pydantic import Field
from scipy.optimize import brentq
from scipy.special import softmax

from cv_folds.arrays import FloatArray, IntArray, StrArray
from ensemble.calibration.logs import floored_logs
from ensemble.calibration.stored import StoredParameters, read_parameters
from ensemble.settings import EnsembleSettings

SHARPEST = 0.05
"""Least temperature: predictions that are always right would ask for 0."""

SOFTEST = 20.0
"""Highest temperature: predictions that know nothing would ask for infinity."""

_FLAT = 1e-12


@dataclass(frozen=True, kw_only=True)
class Temperature:
    """Softmax of the log-probabilities divided by a temperature (Guo et al., ICML 2017); the order of classes stays."""

    n_classes: int
    """Number of columns."""
    temperature: float
    """Above 1 makes probabilities softer, below 1 sharper."""

    @classmethod
    def fit(cls, probabilities: FloatArray, labels: IntArray, groups: StrArray, settings: EnsembleSettings) -> Self:  # noqa: ARG003
        """Find the temperature with the smallest log-loss between `SHARPEST` and `SOFTEST`.

        Parameters
        ----------
        probabilities : (n, n_classes) float64
            Of models that had not seen the rows.
        labels : (n,) int
            True class numbers.
        groups : (n,) str
            Not used: one number cannot tell lesions apart.
        settings : EnsembleSettings
            Not used.

        Returns
        -------
        Temperature
            1 when no temperature changes the log-loss, as for uniform probabilities.

        Notes
        -----
        The log-loss is convex in the inverse temperature, so that the root of its slope is the only optimum.
        """
        logs = floored_logs(probabilities)
        of_truth = float(logs[np.arange(len(labels)), labels].mean())

        def slope(inverse: float) -> float:
            return float((softmax(inverse * logs, axis=1) * logs).sum(axis=1).mean()) - of_truth

        low, high = 1 / SOFTEST, 1 / SHARPEST
        if abs(slope(low)) < _FLAT and abs(slope(high)) < _FLAT:
            inverse = 1.0
        elif slope(low) >= 0:
            inverse = low
        elif slope(high) <= 0:
            inverse = high
        else:
            inverse = float(brentq(slope, low, high, xtol=1e-12))
        return cls(n_classes=probabilities.shape[1], temperature=1 / inverse)

    def calibrate(self, probabilities: FloatArray) -> FloatArray:
        """Return (n, n_classes) probabilities from such."""
        assert probabilities.shape[1] == self.n_classes
        calibrated: FloatArray = softmax(floored_logs(probabilities) / self.temperature, axis=1)
        return calibrated

    def parameters(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"n_classes": self.n_classes, "temperature": self.temperature}

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Read what `parameters` returned; anything else raises `DataError`."""
        stored = read_parameters(_Parameters, parameters, "temperature")
        return cls(n_classes=stored.n_classes, temperature=stored.temperature)


class _Parameters(StoredParameters):
    n_classes: int = Field(ge=1)
    temperature: float = Field(gt=0)
