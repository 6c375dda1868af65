"""Stacking: a multinomial logistic regression on the members' log-probabilities."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from cv_folds.arrays import BoolArray, FloatArray, IntArray, StrArray, frozen
from cv_folds.errors import DataError, list_rows
from ensemble.settings import EnsembleSettings

ABSENT = 1e-9
"""Probability of a class that no fitted row had: never 0, so that the log loss stays finite."""

FLOOR = 1e-6
"""Least probability of a member that counts: one member's certainty must not outweigh everything else."""

SEARCH_TOLERANCE = 1e-4
"""Gradient at which the fits of the inner cross-validation stop: they only rank the penalties."""

TOLERANCE = 1e-8
"""Gradient at which the final fit stops."""

MAX_ITERATIONS = 20_000
"""Far above what any fit took; reaching it raises a warning, which tests turn into an error."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Multinomial logistic regression with an L2 penalty on the concatenated log-softmax of all backbones.

    Notes
    -----
    Stacked generalisation (Wolpert 1992) on log-probabilities: equal coefficients are the logarithmic opinion
    pool, a single backbone gives vector scaling with a full matrix (Guo et al. 2017). The columns
    are not scaled: all are in nats already, and dividing a nearly constant column by its deviation would hand a
    failed member of one fold a coefficient that explodes on the next. For the same reason probabilities below
    `FLOOR` are raised to it.

    The rows are not weighted. Members that were trained on resampled classes behave as if every class were
    equally frequent; the regression sees the natural prevalence and its intercepts learn it, which is what
    accuracy, log loss and calibration on such data reward. Balanced accuracy may be higher with `SoftVote`.

    A class without any row in the fit gets the probability `ABSENT` everywhere.
    """

    penalty: float
    """The chosen `C` of scikit-learn's LogisticRegression."""
    n_backbones: int
    """Length of the second axis of the logits."""
    present: BoolArray
    """(n_classes,) which classes the fitted rows had."""
    coefficients: FloatArray
    """(n_present, n_backbones * n_classes) per unit of log-probability."""
    intercepts: FloatArray
    """(n_present,)."""

    @property
    def n_classes(self) -> int:
        """Length of the last axis of the logits."""
        return len(self.present)

    @classmethod
    def fit(cls, logits: FloatArray, labels: IntArray, groups: StrArray, settings: EnsembleSettings) -> Self:
        """Choose the penalty by inner cross-validation and fit on all rows.

        Parameters
        ----------
        logits : (n, n_backbones, n_classes) float64
            Outputs of models that had not seen these rows.
        labels : (n,) int
            Class numbers.
        groups : (n,) str
            Rows of one group stay together in the inner folds.
        settings : EnsembleSettings
            `penalties` and `inner_folds`.

        Returns
        -------
        Stack
        """
        # The matrices are small: several threads wait for each other, and sum in an order that depends on their number.
        with threadpool_limits(limits=1):
            penalty = choose_penalty(logits, labels, groups, settings)
            return cls._fit(_features(logits), labels, [penalty], TOLERANCE, logits.shape[1])[0]

    @classmethod
    def _fit(
        cls, features: FloatArray, labels: IntArray, penalties: list[float], tolerance: float, n_backbones: int
    ) -> list[Self]:
        """Fit one regression a penalty, each starting from the one before."""
        n_classes = features.shape[1] // n_backbones
        present = np.isin(np.arange(n_classes), labels)
        # Centred for the solver's sake; the intercept is not penalised, so that this changes no probability.
        means = features.mean(axis=0)
        centred = features - means
        regression = LogisticRegression(solver="lbfgs", tol=tolerance, max_iter=MAX_ITERATIONS, warm_start=True)
        fitted = []
        for penalty in penalties:
            slopes = np.zeros((int(present.sum()), features.shape[1]))
            intercepts = np.zeros(len(slopes))
            if len(slopes) > 1:
                regression.set_params(C=penalty).fit(centred, labels)
                # With two classes scikit-learn keeps the second row only, as against a first of zeros.
                rows = slice(1, None) if len(slopes) == 2 else slice(None)
                slopes[rows] = regression.coef_
                intercepts[rows] = regression.intercept_ - slopes[rows] @ means
            fitted.append(
                cls(
                    penalty=penalty,
                    n_backbones=n_backbones,
                    present=frozen(present),
                    coefficients=frozen(slopes),
                    intercepts=frozen(intercepts),
                )
            )
        return fitted

    def combine(self, logits: FloatArray) -> FloatArray:
        """Return (n, n_classes) probabilities from (n, n_backbones, n_classes) logits."""
        assert logits.shape[1:] == (self.n_backbones, len(self.present))
        return self._probabilities(_features(logits))

    def _probabilities(self, features: FloatArray) -> FloatArray:
        probabilities = np.full((len(features), len(self.present)), ABSENT)
        rest = 1 - ABSENT * (~self.present).sum()
        probabilities[:, self.present] = rest * softmax(features @ self.coefficients.T + self.intercepts, axis=1)
        return probabilities

    def parameters(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "penalty": self.penalty,
            "n_backbones": self.n_backbones,
            "present": self.present.tolist(),
            "coefficients": self.coefficients.tolist(),
            "intercepts": self.intercepts.tolist(),
        }

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Read what `parameters` returned; anything else raises `DataError`."""
        try:
            stored = _Parameters.model_validate(dict(parameters))
        except ValidationError as error:
            rows = [f"{'.'.join(str(part) for part in row['loc'])}: {row['msg']}" for row in error.errors()]
            raise DataError("parameters of stack:\n" + list_rows(rows)) from error
        n_present, width = sum(stored.present), stored.n_backbones * len(stored.present)
        if len(stored.intercepts) != n_present or [len(row) for row in stored.coefficients] != [width] * n_present:
            raise DataError(
                f"parameters of stack: needs {n_present} intercepts and {n_present} rows of {width} coefficients"
            )
        return cls(
            penalty=stored.penalty,
            n_backbones=stored.n_backbones,
            present=frozen(stored.present, np.bool_),
            coefficients=frozen(stored.coefficients, np.float64),
            intercepts=frozen(stored.intercepts, np.float64),
        )


class _Parameters(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    penalty: float = Field(gt=0)
    n_backbones: int = Field(ge=1)
    present: list[bool] = Field(min_length=1)
    coefficients: list[list[float]] = Field(min_length=1)
    intercepts: list[float]


def choose_penalty(logits: FloatArray, labels: IntArray, groups: StrArray, settings: EnsembleSettings) -> float:
    """Return the penalty with the smallest log loss in lesion-grouped, stratified inner cross-validation.

    Parameters
    ----------
    logits : (n, n_backbones, n_classes) float64
        Outputs of models that had not seen these rows.
    labels : (n,) int
        Class numbers.
    groups : (n,) str
        Rows of one group are never divided between fitting and scoring.
    settings : EnsembleSettings
        `penalties` and `inner_folds`.

    Returns
    -------
    float
        Of equally good ones the strongest; also the strongest when there are too few groups to choose.
    """
    penalties = sorted(settings.penalties)
    if len(penalties) == 1 or len(np.unique(labels)) == 1 or len(np.unique(groups)) == 1:
        return penalties[0]
    features = _features(logits)
    losses = np.zeros(len(penalties))
    inner = inner_folds(labels, groups, most=settings.inner_folds)
    for fold in np.unique(inner):
        held_out = inner == fold
        stacks = Stack._fit(features[~held_out], labels[~held_out], penalties, SEARCH_TOLERANCE, logits.shape[1])
        for index, stack in enumerate(stacks):
            probabilities = stack._probabilities(features[held_out])
            losses[index] -= np.log(probabilities[np.arange(len(probabilities)), labels[held_out]]).sum()
    return penalties[int(np.argmin(losses))]


def inner_folds(labels: IntArray, groups: StrArray, *, most: int) -> IntArray:
    """Return numbered inner folds: as many as the rarest class has groups, at least 2 and at most `most`.

    The order of the rows plays no part, nor does any random number.

    Parameters
    ----------
    labels : (n,) int
        Class numbers.
    groups : (n,) str
        What must stay together.
    most : int
        Largest number of folds.

    Returns
    -------
    (n,) int
        The fold of every row, counted from 0.
    """
    fewest = min(len(np.unique(groups[labels == label])) for label in np.unique(labels))
    splitter = StratifiedGroupKFold(n_splits=min(max(fewest, 2), most))
    assignment = np.full(len(labels), -1, dtype=np.int64)
    with warnings.catch_warnings():
        # A class with a single group cannot be in both folds; the fit without it then gives it `ABSENT`.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for fold, (_, held_out) in enumerate(splitter.split(np.zeros(len(labels)), labels, groups)):
            assignment[held_out] = fold
    assert (assignment >= 0).all()
    return assignment


def _features(logits: FloatArray) -> FloatArray:
    n, n_backbones, n_classes = logits.shape
    log_probabilities = np.maximum(log_softmax(logits, axis=2), np.log(FLOOR))
    features: FloatArray = log_probabilities.reshape(n, n_backbones * n_classes)
    return features
