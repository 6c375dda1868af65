"""The ways to combine the outputs of several backbones: one interface, one registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self

from cv_folds.arrays import FloatArray, IntArray, StrArray
from cv_folds.clinical import ClinicalTable
from ensemble.selection import GreedySelection
from ensemble.settings import CombinerName, EnsembleSettings
from ensemble.stack_meta import StackMeta
from ensemble.stack_trees import StackTrees
from ensemble.stacking import Stack
from ensemble.voting import LogVote, SoftVote
from ensemble.weighting import WeightedVote


class Combiner(Protocol):
    """A fitted, immutable map from logits, and what is known about the patient, to probabilities."""

    @property
    def n_backbones(self) -> int:
        """Length of the second axis of the logits it takes."""
        ...

    @property
    def n_classes(self) -> int:
        """Length of their last axis."""
        ...

    @classmethod
    def fit(
        cls,
        logits: FloatArray,
        labels: IntArray,
        groups: StrArray,
        settings: EnsembleSettings,
        clinical: ClinicalTable | None = None,
    ) -> Self:
        """Learn from (n, n_backbones, n_classes) logits, (n,) labels and (n,) groups that stay together.

        `clinical` has the same n rows in the same order; without it nothing is known about any of them.
        """
        ...

    def refit(
        self, logits: FloatArray, labels: IntArray, groups: StrArray, clinical: ClinicalTable | None = None
    ) -> Self:
        """Learn from other rows with the same hyperparameters, which saves the search for them.

        Nothing else passes from the old fit to the new one.
        """
        ...

    def combine(self, logits: FloatArray, clinical: ClinicalTable | None = None) -> FloatArray:
        """Return (n, n_classes) float64 probabilities, rows summing to 1, from (n, n_backbones, n_classes) logits."""
        ...

    def parameters(self) -> dict[str, Any]:
        """Return everything learned as plain JSON types; reading it back gives the same probabilities bit by bit."""
        ...

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Make the combiner again from `parameters`; anything malformed raises `DataError`."""
        ...


COMBINERS: dict[CombinerName, type[Combiner]] = {
    "soft_vote": SoftVote,
    "log_vote": LogVote,
    "weighted_vote": WeightedVote,
    "greedy": GreedySelection,
    "stack": Stack,
    "stack_meta": StackMeta,
    "stack_trees": StackTrees,
}
"""Combiner name to class."""
