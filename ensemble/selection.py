"""Greedy selection: a mean of the members' probabilities in which good members count several times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from cv_folds.arrays import BoolArray, FloatArray, IntArray, StrArray, frozen
from cv_folds.clinical import ClinicalTable
from cv_folds.errors import DataError
from ensemble.inner_folds import choose
from ensemble.member_outputs import likelihoods
from ensemble.settings import EnsembleSettings
from ensemble.stored import read_stored
from ensemble.weighting import weighted_mean


@dataclass(frozen=True, kw_only=True)
class GreedySelection:
    """Mean of the softmax probabilities of backbones that were selected one by one, with replacement.

    Notes
    -----
    Caruana, Niculescu-Mizil, Crew & Ksikes, "Ensemble selection from libraries of models", ICML 2004: each round adds
    the backbone that lowers the log loss of the mean most, and one that was added before may be added again. The
    number of rounds is chosen by lesion-grouped inner cross-validation, at most `selection_rounds`; one round is the
    best single backbone.
    """

    counts: IntArray
    """(n_backbones,) how often each was added; they sum to the number of rounds."""
    n_classes: int
    """Length of the last axis of the logits."""

    @property
    def n_backbones(self) -> int:
        """Length of the second axis of the logits."""
        return len(self.counts)

    @classmethod
    def fit(
        cls,
        logits: FloatArray,
        labels: IntArray,
        groups: StrArray,
        settings: EnsembleSettings,
        clinical: ClinicalTable | None = None,  # noqa: ARG003
    ) -> Self:
        """Choose the number of rounds by inner cross-validation and select on all rows.

        Parameters
        ----------
        logits : (n, n_backbones, n_classes) float64
            Outputs of models that had not seen these rows.
        labels : (n,) int
            Class numbers.
        groups : (n,) str
            Rows of one group stay together in the inner folds.
        settings : EnsembleSettings
            `selection_rounds` and `inner_folds`.
        clinical : ClinicalTable, optional
            Not used.
        """
        likely = likelihoods(logits, labels)

        def losses_of(fitting: BoolArray, scoring: BoolArray) -> FloatArray:
            counts = select(likely[fitting], settings.selection_rounds)
            rounds = np.arange(1, len(counts) + 1)
            losses: FloatArray = -np.log(likely[scoring] @ counts.T / rounds).sum(axis=0)
            return losses

        rounds = 1 + choose(labels, groups, most=settings.inner_folds, losses=losses_of)
        return cls(counts=frozen(select(likely, rounds)[-1]), n_classes=logits.shape[2])

    def refit(
        self,
        logits: FloatArray,
        labels: IntArray,
        groups: StrArray,  # noqa: ARG002
        clinical: ClinicalTable | None = None,  # noqa: ARG002
    ) -> Self:
        """Select on other rows in the same number of rounds."""
        counts = select(likelihoods(logits, labels), int(self.counts.sum()))[-1]
        return type(self)(counts=frozen(counts), n_classes=logits.shape[2])

    def combine(self, logits: FloatArray, clinical: ClinicalTable | None = None) -> FloatArray:  # noqa: ARG002
        """Return (n, n_classes) probabilities from (n, n_backbones, n_classes) logits."""
        assert logits.shape[1:] == (self.n_backbones, self.n_classes)
        return weighted_mean(logits, self.counts / self.counts.sum())

    def parameters(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"counts": self.counts.tolist(), "n_classes": self.n_classes}

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Read what `parameters` returned; anything else raises `DataError`."""
        stored = read_stored(_Parameters, parameters, "greedy")
        if not any(stored.counts):
            raise DataError("parameters of greedy: at least one count must be positive")
        return cls(counts=frozen(stored.counts, np.int64), n_classes=stored.n_classes)


class _Parameters(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    counts: list[Annotated[int, Field(ge=0, le=1_000_000)]] = Field(min_length=1)
    n_classes: int = Field(ge=1)


def select(likely: FloatArray, rounds: int) -> IntArray:
    """Add the best member, round by round.

    Parameters
    ----------
    likely : (n, n_members) float64
        Positive probabilities that the members give to the truth.
    rounds : int
        How many members to add.

    Returns
    -------
    (rounds, n_members) int64
        How often each member is in the mean after each round. Of members that are equally good the first is added.
    """
    members = np.ascontiguousarray(likely.T)
    total = np.zeros(len(likely))
    counts = np.zeros((rounds, len(members)), dtype=np.int64)
    for done in range(rounds):
        # The divisor of the mean is the same for all of them.
        best = int(np.argmax(np.log(total + members).sum(axis=1)))
        total += members[best]
        counts[done:, best] += 1
    return counts
