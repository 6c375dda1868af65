"""Isotonic calibration: a rising curve for each class against the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from sklearn.isotonic import IsotonicRegression

from cv_folds.arrays import BoolArray, FloatArray, IntArray, StrArray, frozen
from cv_folds.errors import DataError
from ensemble.priors import PriorShift
from ensemble.settings import EnsembleSettings
from ensemble.stored import read_stored


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A rising, piecewise linear curve; flat beyond its ends."""

    given: FloatArray
    """(k,) increasing probabilities of the class as given."""
    observed: FloatArray
    """(k,) frequencies of the class there, not decreasing, above 0 and below 1."""


@dataclass(frozen=True, kw_only=True)
class Isotonic:
    """Isotonic regression of each class against the rest, rows then divided by their sum.

    Notes
    -----
    Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass probability estimates" (KDD 2002). A
    curve that ends in a block without an image of the class, or with nothing else, would say 0 or 1 and make the
    log-loss infinite at the first surprise. Such a block of g lesions stands at 1 / (g + 2) from the end instead
    (Laplace's rule of succession); no row can then be zero in all classes.
    """

    curves: tuple[Curve, ...]
    """One a class."""

    @property
    def n_classes(self) -> int:
        """Number of columns."""
        return len(self.curves)

    @classmethod
    def fit(
        cls,
        probabilities: FloatArray,
        labels: IntArray,
        groups: StrArray,
        settings: EnsembleSettings,  # noqa: ARG003
        prior: PriorShift | None = None,  # noqa: ARG003
    ) -> Self:
        """Fit a curve a class.

        Parameters
        ----------
        probabilities : (n, n_classes) float64
            Of models that had not seen the rows.
        labels : (n,) int
            True class numbers.
        groups : (n,) str
            Rows of one group count once where the ends of a curve are kept from 0 and 1.
        settings : EnsembleSettings
            Not used.
        prior : PriorShift, optional
            Not used.

        Returns
        -------
        Isotonic
        """
        return cls(
            curves=tuple(
                _fit_curve(probabilities[:, label], labels == label, groups) for label in range(probabilities.shape[1])
            )
        )

    def calibrate(self, probabilities: FloatArray) -> FloatArray:
        """Return (n, n_classes) probabilities from such."""
        assert probabilities.shape[1] == self.n_classes
        columns = [
            np.interp(probabilities[:, label], curve.given, curve.observed) for label, curve in enumerate(self.curves)
        ]
        observed = np.stack(columns, axis=1)
        calibrated: FloatArray = observed / observed.sum(axis=1, keepdims=True)
        return calibrated

    def parameters(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "curves": [{"given": curve.given.tolist(), "observed": curve.observed.tolist()} for curve in self.curves]
        }

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Read what `parameters` returned; anything else raises `DataError`."""
        stored = read_stored(_Parameters, parameters, "calibrator isotonic")
        curves = tuple(Curve(given=frozen(one.given), observed=frozen(one.observed)) for one in stored.curves)
        for number, curve in enumerate(curves):
            rising = (np.diff(curve.given) > 0).all() if len(curve.given) == len(curve.observed) else False
            inside = (curve.observed > 0).all() and (curve.observed < 1).all()
            if not (rising and inside and (np.diff(curve.observed) >= 0).all()):
                raise DataError(f"parameters of calibrator isotonic: curve {number} does not rise within 0 and 1")
        return cls(curves=curves)


def _fit_curve(given: FloatArray, of_class: BoolArray, groups: StrArray) -> Curve:
    regression = IsotonicRegression(y_min=0, y_max=1).fit(given, of_class.astype(np.float64))
    points, observed = regression.X_thresholds_, regression.y_thresholds_
    fitted = np.interp(given, points, observed)
    # The ends may not pass the blocks beside them.
    between = observed[(observed > 0) & (observed < 1)]
    low = np.min(between, initial=1 / (len(np.unique(groups[fitted <= 0])) + 2))
    high = np.max(between, initial=1 - 1 / (len(np.unique(groups[fitted >= 1])) + 2))
    return Curve(given=frozen(points), observed=frozen(np.clip(observed, low, high)))


class _Curve(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    given: list[float] = Field(min_length=1)
    observed: list[float] = Field(min_length=1)


class _Parameters(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    curves: list[_Curve] = Field(min_length=1)
