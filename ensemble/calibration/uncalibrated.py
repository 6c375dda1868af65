"""No calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from cv_folds.arrays import FloatArray, IntArray, StrArray
from ensemble.priors import PriorShift
from ensemble.settings import EnsembleSettings
from ensemble.stored import read_stored


@dataclass(frozen=True, kw_only=True)
class Uncalibrated:
    """Gives back what it is given."""

    n_classes: int
    """Number of columns."""

    @classmethod
    def fit(
        cls,
        probabilities: FloatArray,
        labels: IntArray,  # noqa: ARG003
        groups: StrArray,  # noqa: ARG003
        settings: EnsembleSettings,  # noqa: ARG003
        prior: PriorShift | None = None,  # noqa: ARG003
    ) -> Self:
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
        return cls(n_classes=read_stored(_Parameters, parameters, "calibrator none").n_classes)


class _Parameters(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    n_classes: int = Field(ge=1)
