"""All metrics per image and per lesion: the types, and their JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from reports.results import Estimate

Unit: TypeAlias = Literal["image", "lesion"]


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """A threshold on the summed probability of the malignant classes that keeps a demand on all images."""

    demand: Literal["sensitivity", "specificity"]
    """What has to be reached."""
    percent: int
    """How much of it at least."""
    threshold: float | None
    """Images that reach it are called malignant; None when only calling none of them keeps the demand."""
    sensitivity: float
    """Of the threshold."""
    specificity: float
    """Of the threshold."""


@dataclass(frozen=True, kw_only=True)
class UnitScores:
    """Everything measured of one model on one kind of unit."""

    overall: Mapping[str, Estimate]
    """Metric name to estimate over all classes."""
    per_class: Mapping[str, Mapping[str, Estimate]]
    """Class name to metric name to estimate, one class against the rest."""
    malignant: Mapping[str, Estimate]
    """Metric name to estimate, the malignant classes against the others."""
    net_benefit: tuple[Estimate, ...]
    """Of calling malignant what reaches a threshold probability; one a threshold."""
    risk: tuple[Estimate, ...]
    """Share of errors among the units of highest confidence; one a coverage."""
    operating_points: tuple[OperatingPoint, ...]
    """The thresholds behind the sensitivities and specificities at a demand; empty where these are undefined."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """The scores of every model on one kind of unit."""

    unit: Unit
    """What a row is."""
    n: int
    """Number of units."""
    n_malignant: int
    """Number of malignant ones."""
    treat_all: tuple[float | None, ...]
    """Net benefit of calling every unit malignant, one a threshold; None without malignant units."""
    models: Mapping[str, UnitScores]
    """Model name to scores, in the order of ``predictions.csv``."""


@dataclass(frozen=True, kw_only=True)
class Levels:
    """All metrics per image and per lesion."""

    malignant_classes: tuple[str, ...]
    """Classes of the data that count as malignant."""
    thresholds: tuple[float, ...]
    """Threshold probabilities of the net benefit."""
    coverages: tuple[float, ...]
    """Shares of the units at which the risk is given."""
    by_image: Level
    """Every image counts once."""
    by_lesion: Level | None
    """Every lesion counts once, with the mean of the probabilities of its images."""
    no_lesions: str | None = None
    """Why `by_lesion` is None."""

    def to_json(self) -> dict[str, Any]:
        """Return the entries of ``metrics.json``."""
        return {
            "malignant_classes": list(self.malignant_classes),
            "by_image": self._level_json(self.by_image),
            "by_lesion": (
                {"models": None, "reason": self.no_lesions}
                if self.by_lesion is None
                else self._level_json(self.by_lesion)
            ),
        }

    def _level_json(self, level: Level) -> dict[str, Any]:
        return {
            "n": level.n,
            "n_malignant": level.n_malignant,
            "models": {name: self._scores_json(scores, level) for name, scores in level.models.items()},
        }

    def _scores_json(self, scores: UnitScores, level: Level) -> dict[str, Any]:
        rows = zip(self.thresholds, scores.net_benefit, level.treat_all, strict=True)
        return {
            "overall": _estimates_json(scores.overall),
            "per_class": {name: _estimates_json(estimates) for name, estimates in scores.per_class.items()},
            "malignant": _estimates_json(scores.malignant),
            "operating_points": [
                {
                    "demand": f"{point.demand} of at least {point.percent} %",
                    "threshold": point.threshold,
                    "sensitivity": point.sensitivity,
                    "specificity": point.specificity,
                }
                for point in scores.operating_points
            ],
            "net_benefit": [
                {"threshold": threshold, **estimate.to_json(), "treat_all": all_treated}
                for threshold, estimate, all_treated in rows
            ],
            "risk_coverage": [
                {"coverage": coverage, **estimate.to_json()}
                for coverage, estimate in zip(self.coverages, scores.risk, strict=True)
            ],
        }


def _estimates_json(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    return {metric: estimate.to_json() for metric, estimate in estimates.items()}
