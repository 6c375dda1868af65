"""What restoring the class shares, calibration and the choice of a decision rule do to the scores: the types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ensemble.decisions import RuleName
from reports.reliability import ReliabilityChange
from reports.results import Estimate

CALIBRATION_METRICS = ("log_loss", "brier", "ece", "accuracy", "balanced_accuracy", "macro_f1")
"""What is given before and after calibration; decisions are those for the most probable class."""

DECISION_METRICS = ("accuracy", "balanced_accuracy", "macro_f1")
"""What is given for every decision rule, beside `MEAN_COST` where there is a cost matrix."""

RankedBy = Literal["cross-fitted log_loss", "log_loss on the test part"]
"""What ensembles are ranked by: a hold-out has one combiner of each kind, fitted to other images than are scored."""

MEAN_COST = "mean_cost"
"""Name of the mean cost of a decision."""


def in_words(by: RankedBy) -> str:
    """Return the same as it stands in a sentence."""
    return by.replace("_", "-")


@dataclass(frozen=True, kw_only=True)
class BeforeAfter:
    """One metric of one model as trained, and with natural class shares and calibrated."""

    before: Estimate
    """As the networks were trained."""
    after: Estimate
    """As in the tables of scores."""
    difference: Estimate
    """``after - before``, with its interval from the same lesion resamples for both."""


@dataclass(frozen=True, kw_only=True)
class BestCombiner:
    """Which ensemble has the smallest log-loss, and whether that is more than noise."""

    model: str
    """Its name."""
    against: str | None
    """What it is compared with: ``soft_vote``, or the next best where that is the best or missing; None when alone."""
    difference: Estimate | None
    """Log-loss of `model` minus that of `against`, with an interval that allows for the choice; None when alone."""
    comparisons: int
    """How many differences `difference` may have been picked from, for which its interval is widened."""
    evidence: Literal["difference", "no evidence of a difference", "undefined"]
    """Whether the interval excludes zero."""
    sentence: str
    """All this in words."""
    by: RankedBy
    """What `model` is the lowest in."""

    def to_json(self) -> dict[str, Any]:
        """Return the form used in ``metrics.json``."""
        return {
            "by": self.by,
            "model": self.model,
            "against": self.against,
            "difference": None if self.difference is None else self.difference.to_json(),
            "comparisons": self.comparisons,
            "evidence": self.evidence,
            "sentence": self.sentence,
        }


@dataclass(frozen=True, kw_only=True)
class Effects:
    """What was done to the probabilities of every model, in scores."""

    calibration: Mapping[str, Mapping[str, BeforeAfter]]
    """Model name to each of `CALIBRATION_METRICS`; empty where probabilities as trained are not at hand."""
    decisions: Mapping[str, Mapping[RuleName, Mapping[str, Estimate]]]
    """Model name to rule to each of `DECISION_METRICS`, and `MEAN_COST` where there is a cost matrix."""
    best: BestCombiner | None
    """None without ensembles, and where they were not compared."""
    reliability: Mapping[str, ReliabilityChange] = field(default_factory=dict)
    """Model name to its reliability before and after; empty as `calibration`."""

    def to_json(self) -> dict[str, Any]:
        """Return the entries of ``metrics.json``."""
        sides = ("before", "after", "difference")
        return {
            "calibration": {
                model: {
                    side: {metric: getattr(both, side).to_json() for metric, both in metrics.items()} for side in sides
                }
                for model, metrics in self.calibration.items()
            },
            "reliability": {
                model: {"before": change.before.to_json(), "after": change.after.to_json()}
                for model, change in self.reliability.items()
            },
            "decisions": {
                model: {
                    rule: {metric: estimate.to_json() for metric, estimate in metrics.items()}
                    for rule, metrics in rules.items()
                }
                for model, rules in self.decisions.items()
            },
            "best": None if self.best is None else self.best.to_json(),
        }
