"""What was measured about the predictor's doubts: its prediction sets and its warnings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ensemble.settings import SetMethod
from reports.results import Estimate


@dataclass(frozen=True, kw_only=True)
class SetScores:
    """What the sets of one method are like; every lesion counts once."""

    coverage: Estimate
    """Share of lesions whose images' sets hold the true class."""
    size: Estimate
    """Mean number of classes in a set."""
    single: Estimate
    """Share of sets with one class only."""
    single_right: Estimate
    """Share of these whose class is right."""
    per_class: Mapping[str, Estimate]
    """Class name to the coverage of its lesions."""
    never_excluded: tuple[str, ...]
    """Classes with too few lesions for a threshold, which are in every set."""

    def to_json(self) -> dict[str, Any]:
        """Return the form used in ``metrics.json``."""
        return {
            "coverage": self.coverage.to_json(),
            "size": self.size.to_json(),
            "single": self.single.to_json(),
            "single_right": self.single_right.to_json(),
            "per_class": {name: estimate.to_json() for name, estimate in self.per_class.items()},
            "never_excluded": list(self.never_excluded),
        }


@dataclass(frozen=True, kw_only=True)
class SetCoverage:
    """The prediction sets of the deployed ensemble, by both methods."""

    model: str
    """Whose probabilities the sets are made of."""
    aimed: float
    """The coverage that the thresholds are set for."""
    deployed: SetMethod
    """The method that the predictor uses."""
    methods: Mapping[SetMethod, SetScores]
    """What was measured."""
    tried_on: Literal["other folds", "test part", "elsewhere"] = "other folds"
    """On each fold those of the other folds, or the predictor's own on a test part or on images from elsewhere."""

    def to_json(self) -> dict[str, Any]:
        """Return the form used in ``metrics.json``."""
        return {
            "model": self.model,
            "aimed": self.aimed,
            "deployed": self.deployed,
            "tried_on": self.tried_on,
            "methods": {method: scores.to_json() for method, scores in self.methods.items()},
        }


@dataclass(frozen=True, kw_only=True)
class WarningShares:
    """How often held-out images are warned of; every lesion counts once."""

    model: str
    """Whose answers were compared."""
    aimed: float
    """Share of lesions that each kind of warning is meant for."""
    far: Estimate
    """Share of lesions that are too far from the training images."""
    divided: Estimate
    """Share of lesions about which the members disagree too much."""
    accuracy_warned: Estimate
    """Share of right answers among lesions with either warning."""
    accuracy_others: Estimate
    """Share of right answers among the others."""
    per_class: Mapping[str, Estimate]
    """Class name to the share of its lesions with either warning."""

    def to_json(self) -> dict[str, Any]:
        """Return the form used in ``metrics.json``."""
        return {
            "model": self.model,
            "aimed": self.aimed,
            "distance": self.far.to_json(),
            "spread": self.divided.to_json(),
            "accuracy_warned": self.accuracy_warned.to_json(),
            "accuracy_others": self.accuracy_others.to_json(),
            "per_class": {name: estimate.to_json() for name, estimate in self.per_class.items()},
        }
