"""No calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from pydantic import Field

from cv_folds.arrays import FloatArray, IntArray, StrArray
from ensemble.calibration.stored import StoredParameters, read_parameters
from ensemble.settings import EnsembleSettings


@dataclass(frozen=True, kw_only=True)
class Uncalibrated:
    """Gives back what it is given."""

    n_classes: int
    """Number of columns."""

    @classmethod
    def fit(cls, probabilities: FloatArray, labels: IntArray, groups: StrArray, settings: EnsembleSettings) -> Self:  # noqa: ARG003
        """Note the number of columns; there is nothing to learn."""
        return cls(n_classes=probabilities.shape[1])

    def calibrate(self, probabilities: FloatArray) -> FloatArray:
        """Return (n, n_classes) `probabilities` as they are."""
        assert probabilities.shape[1] == self.n_classes
        return probabilities

    def parameters(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"n_classes": self.n_classes}

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Read what `parameters` returned; anything else raises `DataError`."""
        return cls(n_classes=read_parameters(_Parameters, parameters, "none").n_classes)


class _Parameters(StoredParameters):
    n_classes: int = Field(ge=1)
