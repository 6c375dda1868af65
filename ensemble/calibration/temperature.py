"""Temperature scaling: one number that makes all probabilities softer or sharper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.optimize import brentq
from scipy.special import softmax

from cv_folds.arrays import FloatArray, IntArray, StrArray, frozen
from ensemble.calibration.logs import floored_logs
from ensemble.priors import PriorShift
from ensemble.settings import EnsembleSettings
from ensemble.stored import read_stored

SHARPEST = 0.05
"""Least temperature: predictions that are always right would ask for 0."""

SOFTEST = 20.0
"""Highest temperature: predictions that know nothing would ask for infinity."""

_FLAT = 1e-12


@dataclass(frozen=True, kw_only=True)
class Temperature:
    """Softmax of the log-probabilities divided by a temperature (Guo et al., ICML 2017), class frequencies apart.

    Notes
    -----
    What a network overrates is the picture, not how frequent the classes are: an adjustment to natural class shares is
    taken back before the division and made again after it. For a single network this is its logits divided by the
    temperature, then adjusted. A plain division would undo a part of the adjustment whenever the network is too sure.
    """

    temperature: float
    """Above 1 makes probabilities softer, below 1 sharper."""
    offsets: FloatArray
    """(n_classes,) in nats, what the adjustment of the class prior had added to the log-probabilities."""

    @property
    def n_classes(self) -> int:
        """Number of columns."""
        return len(self.offsets)

    @classmethod
    def fit(
        cls,
        probabilities: FloatArray,
        labels: IntArray,
        groups: StrArray,  # noqa: ARG003
        settings: EnsembleSettings,  # noqa: ARG003
        prior: PriorShift | None = None,
    ) -> Self:
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
        prior : PriorShift, optional
            The adjustment that the probabilities went through; without it there was none.

        Returns
        -------
        Temperature
            Of 1 when no temperature changes the log-loss, as for uniform probabilities.

        Notes
        -----
        The log-loss is convex in the inverse temperature, so that the root of its slope is the only optimum.
        """
        offsets = np.zeros(probabilities.shape[1]) if prior is None else prior.offsets
        logs = floored_logs(probabilities) - offsets
        of_truth = float(logs[np.arange(len(labels)), labels].mean())

        def slope(inverse: float) -> float:
            return float((softmax(inverse * logs + offsets, axis=1) * logs).sum(axis=1).mean()) - of_truth

        low, high = 1 / SOFTEST, 1 / SHARPEST
        if abs(slope(low)) < _FLAT and abs(slope(high)) < _FLAT:
            inverse = 1.0
        elif slope(low) >= 0:
            inverse = low
        elif slope(high) <= 0:
            inverse = high
        else:
            inverse = float(brentq(slope, low, high, xtol=1e-12))
        return cls(temperature=1 / inverse, offsets=frozen(offsets))

    def calibrate(self, probabilities: FloatArray) -> FloatArray:
        """Return (n, n_classes) probabilities from such."""
        assert probabilities.shape[1] == self.n_classes
        scores = (floored_logs(probabilities) - self.offsets) / self.temperature + self.offsets
        calibrated: FloatArray = softmax(scores, axis=1)
        return calibrated

    def parameters(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"temperature": self.temperature, "offsets": self.offsets.tolist()}

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Read what `parameters` returned; anything else raises `DataError`."""
        stored = read_stored(_Parameters, parameters, "calibrator temperature")
        return cls(temperature=stored.temperature, offsets=frozen(stored.offsets))


class _Parameters(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    temperature: float = Field(gt=0)
    offsets: list[float] = Field(min_length=1)
