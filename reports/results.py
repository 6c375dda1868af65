"""Result types of the evaluation, and their JSON form (``metrics.json``, schema 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from cv_folds.leakage import Leakage
from ensemble.predictions import ModelKind

if TYPE_CHECKING:
    # All are made of the estimates below.
    from reports.diversity import Diversity
    from reports.effects import Effects
    from reports.families import Family
    from reports.levels import Levels
    from reports.subgroups import Subgroups
    from reports.uncertainty import SetCoverage, WarningShares

_SCORED_ON = {
    "holdout": "the images of the test part",
    "external": "the external images",
    "given": "the given predictions",
}


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
    """Backbone, ensemble, or a model from elsewhere."""
    overall: Mapping[str, Estimate]
    """Metric name to estimate over all classes."""
    per_class: Mapping[str, Mapping[str, Estimate]]
    """Class name to metric name to estimate, one class against the rest."""
    folds: tuple[Mapping[str, float | None], ...]
    """The overall metrics in each fold alone, in fold order, without intervals."""

    def to_json(self) -> dict[str, Any]:
        """Return the form used in ``metrics.json``."""
        return {
            "kind": self.kind,
            "overall": {metric: estimate.to_json() for metric, estimate in self.overall.items()},
            "per_class": {
                name: {metric: estimate.to_json() for metric, estimate in metrics.items()}
                for name, metrics in self.per_class.items()
            },
            "folds": [dict(fold) for fold in self.folds],
        }


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
    """Whether `p_adjusted` is below 0.05; without one, whether the interval excludes zero."""
    p: float | None = None
    """Two-sided, from the resamples; None when there is no interval, unless the models never differ: then 1."""
    p_adjusted: float | None = None
    """Adjusted for the number of pairs that are compared by this metric (Holm)."""
    sentence: str = ""
    """What it shows, in words."""

    def to_json(self) -> dict[str, Any]:
        """Return the form used in ``metrics.json``."""
        return {
            "metric": self.metric,
            "model": self.model,
            "against": self.against,
            "difference": self.difference.to_json(),
            "evidence": self.evidence,
            "p": self.p,
            "p_adjusted": self.p_adjusted,
            "sentence": self.sentence,
        }


@dataclass(frozen=True, kw_only=True)
class RepeatedScore:
    """A metric of one model in every repetition of the cross-validation."""

    values: tuple[float | None, ...]
    """In the order of the repetitions; None where undefined."""
    mean: float | None
    """Over the repetitions; None when one of them is undefined."""
    deviation: float | None
    """Standard deviation with n - 1; None when one of them is undefined."""

    def to_json(self) -> dict[str, Any]:
        """Return the form used in ``metrics.json``."""
        return {"values": list(self.values), "mean": self.mean, "sd": self.deviation}


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """How scores differ between cross-validations on different folds with different seeds."""

    n: int
    """Number of repetitions, the one that heads the report among them."""
    models: Mapping[str, Mapping[str, RepeatedScore]]
    """Model name to overall metric to its values."""


@dataclass(frozen=True, kw_only=True)
class InflatedScore:
    """A metric of one model on both kinds of folds."""

    grouped: float | None
    """With all images of a lesion in one fold."""
    image_level: float | None
    """With images dealt out without regard to lesions."""
    difference: Estimate
    """Image-level minus grouped, with its interval from the same lesion resamples for both."""

    def to_json(self) -> dict[str, Any]:
        """Return the form used in ``metrics.json``."""
        return {"grouped": self.grouped, "image_level": self.image_level, "difference": self.difference.to_json()}


@dataclass(frozen=True, kw_only=True)
class Inflation:
    """How much of a score is owed to folds that ignore lesions."""

    n_images: int
    """Images scored, the same on both kinds of folds."""
    n_shared: int
    """Of these, images that share a lesion or merged group with training in the image-level folds."""
    models: Mapping[str, Mapping[str, InflatedScore]]
    """Model name to overall metric to its scores."""


@dataclass(frozen=True, kw_only=True)
class NestedScore:
    """A metric of one ensemble, estimated in the usual way and nested."""

    usual: Estimate
    """Combined by what was fitted on the other folds, as seen by networks that were trained on the scored fold."""
    nested: Estimate
    """Combined by what was fitted on the other folds, as seen by networks that were not."""
    difference: Estimate
    """Usual minus nested, with its interval from the same lesion resamples for both."""

    def to_json(self) -> dict[str, Any]:
        """Return the form used in ``metrics.json``."""
        return {
            "usual": self.usual.to_json(),
            "nested": self.nested.to_json(),
            "difference": self.difference.to_json(),
        }


@dataclass(frozen=True, kw_only=True)
class Nested:
    """How far the usual estimates of the ensembles are from the nested ones."""

    n_folds: int
    """Number of folds."""
    models: Mapping[str, Mapping[str, NestedScore]]
    """Name of an ensemble to overall metric to its scores."""

    @property
    def n_pairs(self) -> int:
        """Trainings of a backbone without two folds."""
        return self.n_folds * (self.n_folds - 1) // 2


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
    protocol: Literal["cv", "holdout", "leakage", "external", "given"] = "cv"
    """How the scored images were kept apart from training; ``external``: another data set, ``given``: not known."""
    repeats: Repeats | None = None
    """The spread over repetitions; None without."""
    inflation: Inflation | None = None
    """What image-level folds make of the scores; None when they were not tried."""
    levels: Levels | None = None
    """All metrics, per image and per lesion; None when only those of `models` were computed."""
    tests: tuple[Family, ...] = ()
    """Tests of differences beside `comparisons`."""
    nested: Nested | None = None
    """The nested estimates of the ensembles; None when they were not made."""
    prediction_sets: SetCoverage | None = None
    """How good the prediction sets are; None when no other fold could calibrate them."""
    warnings: WarningShares | None = None
    """How often held-out images are warned of; None when the run was combined by a version without warnings."""
    effects: Effects | None = None
    """What calibration and decision rules do to the scores; None where there is nothing to compare with."""
    subgroups: Subgroups | None = None
    """The scores of parts of the images; None where they were not divided."""
    diversity: Diversity | None = None
    """How alike the members are; None with fewer than two."""

    @property
    def scored_on(self) -> str:
        """What the scores are of, for captions."""
        return _SCORED_ON.get(self.protocol, "all out-of-fold predictions")

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``metrics.json``."""
        content: dict[str, Any] = {
            "schema": 1,
            "classes": list(self.classes),
            "n_images": self.n_images,
            "n_lesions": self.n_lesions,
            "demo": self.demo,
            "protocol": self.protocol,
            "models": {name: scores.to_json() for name, scores in self.models.items()},
            "comparisons": [comparison.to_json() for comparison in self.comparisons],
        }
        if self.levels is not None:
            content |= self.levels.to_json() | {"tests": [family.to_json() for family in self.tests]}
        if self.effects is not None:
            content |= self.effects.to_json()
        if self.leakage is not None:
            content["allowed_leakage"] = self.leakage.model_dump(mode="json")
        if self.repeats is not None:
            content["repeats"] = {"n": self.repeats.n, "models": _by_metric(self.repeats.models)}
        if self.inflation is not None:
            content["leakage"] = {
                "n_images": self.inflation.n_images,
                "n_shared": self.inflation.n_shared,
                "models": _by_metric(self.inflation.models),
            }
        if self.nested is not None:
            content["nested"] = _by_metric(self.nested.models)
        if self.prediction_sets is not None:
            content["prediction_sets"] = self.prediction_sets.to_json()
        if self.warnings is not None:
            content["warnings"] = self.warnings.to_json()
        if self.subgroups is not None:
            content["subgroups"] = self.subgroups.to_json()
        if self.diversity is not None:
            content["diversity"] = self.diversity.to_json()
        return content


def _by_metric(models: Mapping[str, Mapping[str, RepeatedScore | InflatedScore | NestedScore]]) -> dict[str, Any]:
    return {model: {metric: score.to_json() for metric, score in metrics.items()} for model, metrics in models.items()}
