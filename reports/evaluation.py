"""From predictions to all numbers of a report."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

import numpy as np

from cv_folds.arrays import FloatArray, IntArray
from cv_folds.errors import DataError
from ensemble.predictions import Predictions
from reports.comparisons import compare, compared_pairs
from reports.diversity import measure_diversity
from reports.families import run_tests
from reports.further_estimates import measure_level
from reports.further_metrics import FullScores
from reports.intervals import centred_interval, percentile_interval
from reports.lesions import by_lesion
from reports.level_resamples import bootstrap_levels
from reports.levels import Levels, Unit
from reports.malignant import THRESHOLDS, MalignantClasses, malignant_classes
from reports.metrics import CLASS_METRICS, OVERALL_METRICS, Scores, score_images
from reports.results import Estimate, Evaluation, ModelScores
from reports.risk_coverage import COVERAGES
from reports.settings import ReportSettings


@dataclass(frozen=True, kw_only=True)
class Measured:
    """All scores of every model, with what tests of differences are made from."""

    tables: Mapping[Unit, Predictions]
    """The predictions of images, and of lesions when there are lesions."""
    no_lesions: str | None
    """Why there are none."""
    classes: MalignantClasses
    """Which classes are malignant."""
    resampled: Mapping[Unit, Mapping[str, FullScores]]
    """Unit to model name to all metrics in every resample."""
    models: Mapping[str, ModelScores]
    """Model name to its scores on images."""
    levels: Levels
    """Further scores, per image and per lesion."""

    @property
    def overall(self) -> dict[str, Mapping[str, Estimate]]:
        """Model name to overall metric to estimate."""
        return {model: scores.overall for model, scores in self.models.items()}

    @property
    def overall_resampled(self) -> dict[str, Scores]:
        """Model name to its metrics on images in every resample."""
        return {model: scores.scores for model, scores in self.resampled["image"].items()}


def evaluate(
    predictions: Predictions, *, demo: bool, settings: ReportSettings, generator: np.random.Generator
) -> Evaluation:
    """Compute every metric of every model, with intervals, and compare the models.

    Parameters
    ----------
    predictions : Predictions
        Probabilities of images that the models had not seen.
    demo : bool
        Whether the images are the generated demo set.
    settings : ReportSettings
        How many resamples the intervals take.
    generator : numpy.random.Generator
        Source of the resamples: the same seed gives the same intervals.

    Returns
    -------
    Evaluation

    Raises
    ------
    DataError
        When there is no image or no model.
    """
    # The members are compared on the resamples of the scores, and take nothing from the generator.
    same = deepcopy(generator)
    measured = measure(predictions, settings=settings, generator=generator)
    pairs = compared_pairs(measured.overall, predictions.kinds)
    return Evaluation(
        classes=predictions.classes,
        n_images=len(predictions.image_ids),
        n_lesions=len(np.unique(predictions.lesion_ids)),
        demo=demo,
        models=measured.models,
        comparisons=compare(pairs, measured.overall, measured.overall_resampled),
        levels=measured.levels,
        diversity=measure_diversity(predictions, resamples=settings.resamples, generator=same),
        tests=run_tests(
            pairs,
            measured.tables,
            measured.no_lesions,
            measured.resampled["lesion"],
            measured.models,
            measured.classes,
        ),
    )


def measure(predictions: Predictions, *, settings: ReportSettings, generator: np.random.Generator) -> Measured:
    """Compute every metric of every model, with intervals, without comparing the models.

    Parameters
    ----------
    predictions, settings, generator
        As for `evaluate`.

    Raises
    ------
    DataError
        When there is no image or no model.
    """
    if not len(predictions.image_ids) or not predictions.probabilities:
        raise DataError("there are no predictions to evaluate; run every job first")
    lesions = by_lesion(predictions)
    tables: dict[Unit, Predictions] = {"image": predictions}
    if isinstance(lesions, Predictions):
        tables["lesion"] = lesions
    classes = malignant_classes(predictions.classes, settings.malignant)
    full = bootstrap_levels(tables, classes.malignant, resamples=settings.resamples, generator=generator)
    basic = {
        unit: {
            model: _model_scores(model, table, probabilities, full[unit][model].scores)
            for model, probabilities in table.probabilities.items()
        }
        for unit, table in tables.items()
    }
    levels = {unit: measure_level(unit, table, basic[unit], full[unit], classes) for unit, table in tables.items()}
    no_lesions = lesions if isinstance(lesions, str) else None
    return Measured(
        tables=tables,
        no_lesions=no_lesions,
        classes=classes,
        resampled=full,
        models=basic["image"],
        levels=Levels(
            malignant_classes=classes.names,
            thresholds=THRESHOLDS,
            coverages=COVERAGES,
            by_image=levels["image"],
            by_lesion=levels.get("lesion"),
            no_lesions=no_lesions,
        ),
    )


def _model_scores(model: str, predictions: Predictions, probabilities: FloatArray, resampled: Scores) -> ModelScores:
    labels, classes = predictions.labels, predictions.classes
    point = score_images(labels, probabilities)
    predicted = probabilities.argmax(axis=1)
    return ModelScores(
        name=model,
        kind=predictions.kinds[model],
        overall=overall_estimates(labels, probabilities, resampled, classes),
        per_class={
            name: _class_estimates(index, point, resampled, _why_undefined_for_class(index, labels, predicted))
            for index, name in enumerate(classes)
        },
        folds=tuple(
            _fold_values(labels[predictions.folds == fold], probabilities[predictions.folds == fold])
            for fold in np.unique(predictions.folds)
        ),
    )


def overall_estimates(
    labels: IntArray, probabilities: FloatArray, resampled: Scores, classes: tuple[str, ...]
) -> dict[str, Estimate]:
    """Return the overall metrics of one model with their intervals.

    Parameters
    ----------
    labels : (n,) array of int
        Index into `classes`.
    probabilities : (n, n_classes) array of float64
        Of the model.
    resampled : Scores
        Its metrics in every resample.
    classes : tuple of str
        Class names in column order.
    """
    point = score_images(labels, probabilities).overall
    reasons = _why_undefined_overall(labels, probabilities.argmax(axis=1), classes)
    return {
        metric: _estimate(metric, point[metric][0], resampled.overall[metric], reasons.get(metric))
        for metric in OVERALL_METRICS
    }


def _class_estimates(index: int, point: Scores, resampled: Scores, reasons: Mapping[str, str]) -> dict[str, Estimate]:
    estimates = {
        metric: _estimate(
            metric, point.per_class[metric][0, index], resampled.per_class[metric][:, index], reasons.get(metric)
        )
        for metric in CLASS_METRICS
    }
    # The number of images is what was collected, not an estimate of anything.
    return estimates | {"support": Estimate(value=int(point.per_class["support"][0, index]), reason="a count")}


def _estimate(metric: str, value: float, resampled: FloatArray, reason: str | None) -> Estimate:
    if np.isnan(value):
        assert reason is not None
        return Estimate(value=None, reason=reason)
    interval = centred_interval(resampled, value) if metric == "ece" else percentile_interval(resampled)
    return Estimate(value=float(value), low=interval.low, high=interval.high, reason=interval.reason)


def _fold_values(labels: IntArray, probabilities: FloatArray) -> dict[str, float | None]:
    scores = score_images(labels, probabilities).overall
    return {metric: None if np.isnan(scores[metric][0]) else float(scores[metric][0]) for metric in OVERALL_METRICS}


def _why_undefined_overall(labels: IntArray, predicted: IntArray, classes: tuple[str, ...]) -> dict[str, str]:
    counts = np.bincount(labels, minlength=len(classes))
    reasons: dict[str, str] = {}
    if absent := [name for name, count in zip(classes, counts, strict=True) if not count]:
        reasons["macro_auc"] = f"no image of {', '.join(absent)}"
    elif len(classes) == 1:
        reasons["macro_auc"] = "there is only one class"
    one_label, one_prediction = len(np.unique(labels)) == 1, len(np.unique(predicted)) == 1
    if one_label or one_prediction:
        reasons["mcc"] = "every image is of one class" if one_label else "only one class is ever predicted"
    if one_label and one_prediction:
        reasons["kappa"] = "every image is of one class, and only one is ever predicted"
    return reasons


def _why_undefined_for_class(index: int, labels: IntArray, predicted: IntArray) -> dict[str, str]:
    support = int((labels == index).sum())
    never_predicted = not (predicted == index).any()
    reasons: dict[str, str] = {}
    if support == 0:
        reasons |= dict.fromkeys(("auc", "average_precision", "recall"), "no image of this class")
    if support == len(labels):
        reasons |= dict.fromkeys(("auc", "specificity"), "every image is of this class")
    if never_predicted:
        reasons["precision"] = "never predicted"
        if support == 0:
            reasons["f1"] = "no image of this class, and it is never predicted"
    return reasons
