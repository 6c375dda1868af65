"""Stacking with age, sex and body site beside the members' log-probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from pydantic import Field
from threadpoolctl import threadpool_limits

from cv_folds.arrays import FloatArray, IntArray, StrArray, frozen
from cv_folds.clinical import ClinicalTable
from ensemble.clinical_features import ClinicalCoding
from ensemble.member_outputs import member_features
from ensemble.penalised import PenalisedRegression, StoredRegression, choose_penalty
from ensemble.settings import EnsembleSettings
from ensemble.stacking import opinion_pool
from ensemble.stored import read_stored


@dataclass(frozen=True, kw_only=True)
class StackMeta:
    """The regression of `ensemble.stacking.Stack` with clinical features; what is not known is a value of its own.

    Notes
    -----
    One penalty for all coefficients: log-probabilities in nats, ages in standard deviations and indicators are of
    similar size. Their effects are added in log-odds; there are no interactions. On an image without any clinical
    value the answer is that for patients about whom nothing was noted; when all of the fitted ones were noted, that
    of an average patient.
    """

    n_backbones: int
    """Length of the second axis of the logits."""
    rare: int
    """A sex or body site with fewer lesions than this in the fit has no column of its own."""
    coding: ClinicalCoding
    """From clinical values to features."""
    regression: PenalisedRegression
    """On n_backbones * n_classes log-probabilities, backbone by backbone, then the clinical features."""

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
        clinical: ClinicalTable | None = None,
    ) -> Self:
        """Learn the coding, choose the penalty by inner cross-validation and fit on all rows.

        Parameters
        ----------
        logits : (n, n_backbones, n_classes) float64
            Outputs of models that had not seen these rows.
        labels : (n,) int
            Class numbers.
        groups : (n,) str
            Rows of one group stay together in the inner folds.
        settings : EnsembleSettings
            `penalties`, `inner_folds` and `rare_level`.
        clinical : ClinicalTable, optional
            The same rows in the same order; without it nothing is known about any of them.
        """
        known = _of(logits, clinical)
        coding = ClinicalCoding.learn(known, groups, fewest=settings.rare_level)
        features, start = _features(logits, known, coding), opinion_pool(logits, coding.n_features)
        with threadpool_limits(limits=1):
            # The coding has not seen a label: it is the same in all inner folds.
            penalty = choose_penalty(features, labels, groups, settings, start)
            regression = PenalisedRegression.fit(features, labels, penalty, start)
        return cls(n_backbones=logits.shape[1], rare=settings.rare_level, coding=coding, regression=regression)

    def refit(
        self, logits: FloatArray, labels: IntArray, groups: StrArray, clinical: ClinicalTable | None = None
    ) -> Self:
        """Learn coding and coefficients from other rows with the penalty that was chosen."""
        known = _of(logits, clinical)
        coding = ClinicalCoding.learn(known, groups, fewest=self.rare)
        features, start = _features(logits, known, coding), opinion_pool(logits, coding.n_features)
        with threadpool_limits(limits=1):
            regression = PenalisedRegression.fit(features, labels, self.regression.penalty, start)
        return type(self)(n_backbones=logits.shape[1], rare=self.rare, coding=coding, regression=regression)

    def combine(self, logits: FloatArray, clinical: ClinicalTable | None = None) -> FloatArray:
        """Return (n, n_classes) probabilities from (n, n_backbones, n_classes) logits and the rows' clinical values."""
        assert logits.shape[1:] == (self.n_backbones, self.n_classes)
        return self.regression.probabilities(_features(logits, _of(logits, clinical), self.coding))

    def parameters(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "n_backbones": self.n_backbones,
            "rare": self.rare,
            "age_mean": self.coding.age_mean,
            "age_deviation": self.coding.age_deviation,
            "sexes": list(self.coding.sexes),
            "sites": list(self.coding.sites),
        } | self.regression.parameters()

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Read what `parameters` returned; anything else raises `DataError`."""
        stored = read_stored(_Parameters, parameters, "stack_meta")
        coding = ClinicalCoding(
            age_mean=stored.age_mean,
            age_deviation=stored.age_deviation,
            sexes=tuple(stored.sexes),
            sites=tuple(stored.sites),
        )
        n_features = stored.n_backbones * len(stored.present) + coding.n_features
        regression = PenalisedRegression.from_stored(stored, n_features, "stack_meta")
        return cls(n_backbones=stored.n_backbones, rare=stored.rare, coding=coding, regression=regression)


class _Parameters(StoredRegression):
    n_backbones: int = Field(ge=1)
    rare: int = Field(ge=1)
    age_mean: float
    age_deviation: float = Field(gt=0)
    sexes: list[str]
    sites: list[str]


def _of(logits: FloatArray, clinical: ClinicalTable | None) -> ClinicalTable:
    """Return the clinical values of the rows, or that nothing is known about them."""
    if clinical is None:
        return ClinicalTable.blank(frozen(np.arange(len(logits)).astype(np.str_)))
    assert len(clinical) == len(logits)
    return clinical


def _features(logits: FloatArray, clinical: ClinicalTable, coding: ClinicalCoding) -> FloatArray:
    return np.hstack([member_features(logits), coding.features(clinical)])
