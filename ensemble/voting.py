"""Soft voting: the mean of the members' probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from scipy.special import softmax

from cv_folds.arrays import FloatArray, IntArray, StrArray
from cv_folds.clinical import ClinicalTable
from cv_folds.errors import DataError
from ensemble.settings import EnsembleSettings


@dataclass(frozen=True, kw_only=True)
class SoftVote:
    """Mean of the softmax probabilities of all backbones, each counting the same.

    Notes
    -----
    There is nothing to fit, so the class prior stays the one that the members were trained with: uniform when
    classes were resampled to equal weight. `ensemble.stacking.Stack` learns the natural prevalence instead.
    """

    n_backbones: int
    """Length of the second axis of the logits."""
    n_classes: int
    """Length of their last axis."""

    @classmethod
    def fit(
        cls,
        logits: FloatArray,
        labels: IntArray,  # noqa: ARG003
        groups: StrArray,  # noqa: ARG003
        settings: EnsembleSettings,  # noqa: ARG003
        clinical: ClinicalTable | None = None,  # noqa: ARG003
    ) -> Self:
        """Note the shape of `logits` ((n, n_backbones, n_classes)); the other arguments are not used."""
        return cls(n_backbones=logits.shape[1], n_classes=logits.shape[2])

    def refit(
        self,
        logits: FloatArray,  # noqa: ARG002
        labels: IntArray,  # noqa: ARG002
        groups: StrArray,  # noqa: ARG002
        clinical: ClinicalTable | None = None,  # noqa: ARG002
    ) -> Self:
        """Return itself: nothing was learned."""
        return self

    def combine(self, logits: FloatArray, clinical: ClinicalTable | None = None) -> FloatArray:  # noqa: ARG002
        """Return (n, n_classes) probabilities from (n, n_backbones, n_classes) logits."""
        assert logits.shape[1:] == (self.n_backbones, self.n_classes)
        probabilities: FloatArray = softmax(logits, axis=2).mean(axis=1)
        return probabilities

    def parameters(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"n_backbones": self.n_backbones, "n_classes": self.n_classes}

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Read what `parameters` returned; anything else raises `DataError`."""
        counts = [parameters.get(name) for name in ("n_backbones", "n_classes")]
        if len(parameters) != 2 or not all(type(count) is int and count > 0 for count in counts):
            raise DataError("parameters of soft_vote must be two positive integers, n_backbones and n_classes")
        return cls(**parameters)
