"""Result types of the evaluation, and their JSON form (``metrics.json``, schema 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cv_folds.leakage import Leakage
from ensemble.predictions import ModelKind


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A metric with its 95 % interval, or the reason why it is undefined."""

    value: float | None
    """Point estimate on all images; None when undefined."""
    low: float | None = None
    """Lower end of the interval; None when undefined."""
    high: float | None = None
    """Upper end of the interval; None when undefined."""
    reason: str | None = None
    """Why `value` or the interval is None; None when both are defined."""

    def to_json(self) -> dict[str, float | str | None]:
        """Return the form used in ``metrics.json``; ``reason`` is there only when there is one."""
        form: dict[str, float | str | None] = {"value": self.value, "low": self.low, "high": self.high}
        return form if self.reason is None else form | {"reason": self.reason}


@dataclass(frozen=True, kw_only=True)
class ModelScores:
    """Everything measured of one backbone or ensemble."""

    name: str
    """Model name, as in ``predictions.csv``."""
    kind: ModelKind
    """Backbone or ensemble."""
    overall: Mapping[str, Estimate]
    """Metric name to estimate over all classes."""
    per_class: Mapping[str, Mapping[str, Estimate]]
    """Class name to metric name to estimate, one class against the rest."""
    folds: tuple[Mapping[str, float | None], ...]
    """The overall metrics in each fold alone, in fold order, without intervals."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Paired difference between two models on the same images."""

    metric: str
    """Name of an overall metric."""
    model: str
    """The model whose value counts positive."""
    against: str
    """The model that is subtracted."""
    difference: Estimate
    """``model - against``, with its interval from the same lesion resamples for both."""
    evidence: Literal["difference", "no evidence of a difference", "undefined"]
    """Whether the interval excludes zero."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All scores of a run, computed once; every page and picture reads from here."""

    classes: tuple[str, ...]
    """Class names in column order."""
    n_images: int
    """Number of images."""
    n_lesions: int
    """Number of distinct lesion ids."""
    demo: bool
    """True when the images are the generated demo set."""
    models: Mapping[str, ModelScores]
    """Model name to scores, in the order of ``predictions.csv``."""
    comparisons: tuple[Comparison, ...]
    """Paired differences."""
    leakage: Leakage | None = None
    """What leaks in folds that were used although they leak: the scores are too good."""

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``metrics.json``."""
        return {
            "schema": 1,
            "classes": list(self.classes),
            "n_images": self.n_images,
            "n_lesions": self.n_lesions,
            "demo": self.demo,
            "models": {name: _model_json(scores) for name, scores in self.models.items()},
            "comparisons": [
                {
                    "metric": comparison.metric,
                    "model": comparison.model,
                    "against": comparison.against,
                    "difference": comparison.difference.to_json(),
                    "evidence": comparison.evidence,
                }
                for comparison in self.comparisons
            ],
        } | ({} if self.leakage is None else {"allowed_leakage": self.leakage.model_dump(mode="json")})


def _model_json(scores: ModelScores) -> dict[str, Any]:
    return {
        "kind": scores.kind,
        "overall": {metric: estimate.to_json() for metric, estimate in scores.overall.items()},
        "per_class": {
            name: {metric: estimate.to_json() for metric, estimate in metrics.items()}
            for name, metrics in scores.per_class.items()
        },
        "folds": [dict(fold) for fold in scores.folds],
    }
