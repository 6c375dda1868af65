"""Stacking: a multinomial logistic regression on the members' log-probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from pydantic import Field
from threadpoolctl import threadpool_limits

from cv_folds.arrays import FloatArray, IntArray, StrArray
from cv_folds.clinical import ClinicalTable
from ensemble.member_outputs import member_features
from ensemble.penalised import PenalisedRegression, StoredRegression, choose_penalty
from ensemble.settings import EnsembleSettings
from ensemble.stored import read_stored


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

    n_backbones: int
    """Length of the second axis of the logits."""
    regression: PenalisedRegression
    """On n_backbones * n_classes log-probabilities, backbone by backbone."""

    @property
    def n_classes(self) -> int:
        """Length of the last axis of the logits."""
        return len(self.regression.present)

    @classmethod
    def fit(
        cls,
        logits: FloatArray,
        labels: IntArray,
        groups: StrArray,
        settings: EnsembleSettings,
        clinical: ClinicalTable | None = None,  # noqa: ARG003
    ) -> Self:
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
        clinical : ClinicalTable, optional
            Not used.

        Returns
        -------
        Stack
        """
        # The matrices are small: several threads wait for each other, and sum in an order that depends on their number.
        with threadpool_limits(limits=1):
            penalty = choose_penalty(member_features(logits), labels, groups, settings, opinion_pool(logits))
            return cls._fit(logits, labels, penalty)

    def refit(
        self,
        logits: FloatArray,
        labels: IntArray,
        groups: StrArray,  # noqa: ARG002
        clinical: ClinicalTable | None = None,  # noqa: ARG002
    ) -> Self:
        """Fit on other rows with the penalty that was chosen."""
        with threadpool_limits(limits=1):
            return self._fit(logits, labels, self.regression.penalty)

    @classmethod
    def _fit(cls, logits: FloatArray, labels: IntArray, penalty: float) -> Self:
        regression = PenalisedRegression.fit(member_features(logits), labels, penalty, opinion_pool(logits))
        return cls(n_backbones=logits.shape[1], regression=regression)

    def combine(self, logits: FloatArray, clinical: ClinicalTable | None = None) -> FloatArray:  # noqa: ARG002
        """Return (n, n_classes) probabilities from (n, n_backbones, n_classes) logits."""
        assert logits.shape[1:] == (self.n_backbones, self.n_classes)
        return self.regression.probabilities(member_features(logits))

    def parameters(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"n_backbones": self.n_backbones} | self.regression.parameters()

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Read what `parameters` returned; anything else raises `DataError`."""
        stored = read_stored(_Parameters, parameters, "stack")
        n_features = stored.n_backbones * len(stored.present)
        regression = PenalisedRegression.from_stored(stored, n_features, "stack")
        return cls(n_backbones=stored.n_backbones, regression=regression)


class _Parameters(StoredRegression):
    n_backbones: int = Field(ge=1)


def opinion_pool(logits: FloatArray, n_others: int = 0) -> FloatArray:
    """Return the (n_classes, n_features) coefficients of equally weighted members, and zeros for other features."""
    _, n_backbones, n_classes = logits.shape
    members = np.tile(np.eye(n_classes) / n_backbones, (1, n_backbones))
    return np.hstack([members, np.zeros((n_classes, n_others))])
