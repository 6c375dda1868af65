"""Multinomial logistic regression over the classes that the rows have, with a penalty chosen within them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.special import softmax

from cv_folds.arrays import BoolArray, FloatArray, IntArray, StrArray, frozen
from cv_folds.errors import DataError
from ensemble.inner_folds import choose
from ensemble.settings import EnsembleSettings
from ensemble.softmax_regression import fit_path

ABSENT = 1e-9
"""Probability of a class that no fitted row had: never 0, so that the log loss stays finite."""

SEARCH_TOLERANCE = 1e-4
"""Of the fits in the inner cross-validation, which only rank the penalties: within 1e-6 nats of the optimum."""

TOLERANCE = 1e-7
"""Of the final fit."""


@dataclass(frozen=True, kw_only=True)
class PenalisedRegression:
    """Probabilities of all classes from the features of a row; a class without any fitted row gets `ABSENT`."""

    penalty: float
    """``C`` of scikit-learn's LogisticRegression."""
    present: BoolArray
    """(n_classes,) which classes the fitted rows had."""
    coefficients: FloatArray
    """(n_present, n_features)."""
    intercepts: FloatArray
    """(n_present,)."""

    @classmethod
    def fit(cls, features: FloatArray, labels: IntArray, penalty: float, start: FloatArray) -> Self:
        """Fit on (n, n_features) rows with (n,) class numbers, beginning with (n_classes, n_features) coefficients."""
        return cls._path(features, labels, [penalty], start, TOLERANCE)[0]

    @classmethod
    def _path(
        cls, features: FloatArray, labels: IntArray, penalties: list[float], start: FloatArray, tolerance: float
    ) -> list[Self]:
        present = np.isin(np.arange(len(start)), labels)
        numbers = (np.cumsum(present) - 1)[labels]
        fitted = fit_path(features, numbers, penalties, start=start[present], tolerance=tolerance)
        return [
            cls(
                penalty=penalty,
                present=frozen(present),
                coefficients=frozen(regression.coefficients),
                intercepts=frozen(regression.intercepts),
            )
            for penalty, regression in zip(penalties, fitted, strict=True)
        ]

    def probabilities(self, features: FloatArray) -> FloatArray:
        """Return (n, n_classes) probabilities from (n, n_features) features."""
        return with_absent(softmax(features @ self.coefficients.T + self.intercepts, axis=1), self.present)

    def parameters(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "penalty": self.penalty,
            "present": self.present.tolist(),
            "coefficients": self.coefficients.tolist(),
            "intercepts": self.intercepts.tolist(),
        }

    @classmethod
    def from_stored(cls, stored: StoredRegression, n_features: int, combiner: str) -> Self:
        """Read what `parameters` returned; sizes that do not agree raise `DataError` that names the combiner."""
        n_present = sum(stored.present)
        if len(stored.intercepts) != n_present or [len(row) for row in stored.coefficients] != [n_features] * n_present:
            raise DataError(
                f"parameters of {combiner}: needs {n_present} intercepts and {n_present} rows of {n_features} "
                "coefficients"
            )
        return cls(
            penalty=stored.penalty,
            present=frozen(stored.present, np.bool_),
            coefficients=frozen(stored.coefficients, np.float64),
            intercepts=frozen(stored.intercepts, np.float64),
        )


class StoredRegression(BaseModel):
    """The JSON form of a `PenalisedRegression`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    penalty: float = Field(gt=0)
    present: list[bool] = Field(min_length=1)
    coefficients: list[list[float]] = Field(min_length=1)
    intercepts: list[float]


def with_absent(probabilities: FloatArray, present: BoolArray) -> FloatArray:
    """Spread (n, n_present) probabilities over (n_classes,) columns, those of absent classes holding `ABSENT`."""
    spread = np.full((len(probabilities), len(present)), ABSENT)
    spread[:, present] = (1 - ABSENT * (~present).sum()) * probabilities
    return spread


def choose_penalty(
    features: FloatArray, labels: IntArray, groups: StrArray, settings: EnsembleSettings, start: FloatArray
) -> float:
    """Return the penalty with the smallest log loss in lesion-grouped, stratified inner cross-validation.

    Parameters
    ----------
    features : (n, n_features) float64
        From outputs of models that had not seen these rows.
    labels : (n,) int
        Class numbers.
    groups : (n,) str
        Rows of one group are never divided between fitting and scoring.
    settings : EnsembleSettings
        `penalties` and `inner_folds`.
    start : (n_classes, n_features) float64
        Where the fits begin.

    Returns
    -------
    float
        Of equally good ones the strongest; also the strongest when there are too few groups to choose.
    """
    penalties = sorted(settings.penalties)

    def losses(fitting: BoolArray, scoring: BoolArray) -> FloatArray:
        fitted = PenalisedRegression._path(features[fitting], labels[fitting], penalties, start, SEARCH_TOLERANCE)
        probabilities = (regression.probabilities(features[scoring]) for regression in fitted)
        return np.array([log_loss(rows, labels[scoring]) for rows in probabilities])

    if len(penalties) == 1:
        return penalties[0]
    return penalties[choose(labels, groups, most=settings.inner_folds, losses=losses)]


def log_loss(probabilities: FloatArray, labels: IntArray) -> float:
    """Return the summed log loss in nats of (n, n_classes) probabilities."""
    return -float(np.log(probabilities[np.arange(len(labels)), labels]).sum())
