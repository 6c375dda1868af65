"""The ways to calibrate: one interface, one registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self

from cv_folds.arrays import FloatArray, IntArray, StrArray
from ensemble.calibration.isotonic import Isotonic
from ensemble.calibration.temperature import Temperature
from ensemble.calibration.uncalibrated import Uncalibrated
from ensemble.calibration.vector import VectorScaling
from ensemble.priors import PriorShift
from ensemble.settings import CalibratorName, EnsembleSettings


class Calibrator(Protocol):
    """A fitted, immutable map from probabilities to probabilities."""

    @property
    def n_classes(self) -> int:
        """Number of columns."""
        ...

    @classmethod
    def fit(
        cls,
        probabilities: FloatArray,
        labels: IntArray,
        groups: StrArray,
        settings: EnsembleSettings,
        prior: PriorShift | None = None,
    ) -> Self:
        """Learn from (n, n_classes) probabilities of models that had not seen the rows, labels and groups.

        `prior` is the adjustment that the probabilities went through.
        """
        ...

    def calibrate(self, probabilities: FloatArray) -> FloatArray:
        """Return (n, n_classes) float64 probabilities, rows summing to 1."""
        ...

    def parameters(self) -> dict[str, Any]:
        """Return everything learned as plain JSON types; reading it back gives the same probabilities bit by bit."""
        ...

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Make the calibrator again from `parameters`; anything malformed raises `DataError`."""
        ...


CALIBRATORS: dict[CalibratorName, type[Calibrator]] = {
    "none": Uncalibrated,
    "temperature": Temperature,
    "vector": VectorScaling,
    "isotonic": Isotonic,
}
"""Calibrator name to class."""


def calibrator_name(calibrator: Calibrator) -> CalibratorName:
    """Return the key of a calibrator's class."""
    return next(name for name, kind in CALIBRATORS.items() if type(calibrator) is kind)
