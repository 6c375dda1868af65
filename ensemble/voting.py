"""Voting: means of the members' probabilities in which every member counts the same; nothing is fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field
from scipy.special import softmax

from cv_folds.arrays import FloatArray, IntArray, StrArray
from cv_folds.clinical import ClinicalTable
from ensemble.member_outputs import member_logs
from ensemble.settings import EnsembleSettings
from ensemble.stored import read_stored


@dataclass(frozen=True, kw_only=True)
class SoftVote:
    """Mean of the softmax probabilities of all backbones, each counting the same.

    Notes
    -----
    There is nothing to fit, so the class prior stays the one that the members' logits have.
    `ensemble.stacking.Stack` learns the natural prevalence instead.
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
        stored = read_stored(_Shape, parameters, "soft_vote")
        return cls(n_backbones=stored.n_backbones, n_classes=stored.n_classes)


@dataclass(frozen=True, kw_only=True)
class LogVote:
    """Geometric mean of the probabilities of all backbones, scaled so that they sum to 1.

    Notes
    -----
    The logarithmic opinion pool with equal weights (Genest & Zidek, "Combining probability distributions", Statistical
    Science 1986; Hinton's product of experts): a class needs some support of every member. Probabilities below
    `ensemble.member_outputs.FLOOR` are raised to it, so that no member alone can rule a class out.
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
        probabilities: FloatArray = softmax(member_logs(logits).mean(axis=1), axis=1)
        return probabilities

    def parameters(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"n_backbones": self.n_backbones, "n_classes": self.n_classes}

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Read what `parameters` returned; anything else raises `DataError`."""
        stored = read_stored(_Shape, parameters, "log_vote")
        return cls(n_backbones=stored.n_backbones, n_classes=stored.n_classes)


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    n_backbones: int = Field(ge=1)
    n_classes: int = Field(ge=1)
