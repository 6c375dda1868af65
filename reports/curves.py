"""Curves and matrices that figures draw, computed once from the predictions; the figures only read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from sklearn.metrics import precision_recall_curve, roc_curve

from cv_folds.arrays import BoolArray, FloatArray, IntArray, frozen
from ensemble.predictions import ModelKind, Predictions
from reports.equal_mass import N_BINS, equal_mass_bins

MOST_POINTS = 400


@dataclass(frozen=True, kw_only=True)
class RocCurve:
    """Receiver operating characteristic of one class against the rest, or its mean over the classes."""

    false_positive_rate: FloatArray
    """(k,) from 0 to 1, not decreasing; at most 400 points."""
    true_positive_rate: FloatArray
    """(k,) from 0 to 1, not decreasing; join the points by straight lines."""
    auc: float
    """Area under the full curve, before any thinning; equals the metric ``auc`` (``macro_auc`` for the mean)."""


@dataclass(frozen=True, kw_only=True)
class PrecisionRecallCurve:
    """Precision against recall of one class against the rest."""

    recall: FloatArray
    """(k,) from 0 to 1, not decreasing; at most 400 points."""
    precision: FloatArray
    """(k,) the precision that holds up to `recall`, 1 at recall 0: draw with ``drawstyle="steps-pre"``."""
    average_precision: float
    """Step-wise area of the full curve, before any thinning; equals the metric ``average_precision``."""
    prevalence: float
    """Share of the class among the images: the precision of a classifier that guesses."""


@dataclass(frozen=True, kw_only=True)
class ReliabilityDiagram:
    """Observed frequency against confidence in at most 15 equal-mass bins; bins without images are left out."""

    mean_confidence: FloatArray
    """(b,) mean predicted probability of the images in each bin, increasing."""
    observed: FloatArray
    """(b,) share of the images in each bin that are of the predicted class (or of the one class shown)."""
    counts: IntArray
    """(b,) number of images in each bin."""
    low: FloatArray
    """(b,) lower end of the 95 % Wilson interval of `observed`; it takes images as independent."""
    high: FloatArray
    """(b,) upper end of that interval."""
    ece: float
    """Expected calibration error over these bins; equals the metric ``ece``."""


@dataclass(frozen=True, kw_only=True)
class ConfusionMatrix:
    """Labels (rows) against predicted classes (columns)."""

    counts: IntArray
    """(n_classes, n_classes) number of images."""
    rates: FloatArray
    """(n_classes, n_classes) share of the row; a row of NaN for a class without images."""


@dataclass(frozen=True, kw_only=True)
class ModelCurves:
    """Everything that figures draw of one model."""

    name: str
    """Model name, as in ``predictions.csv``."""
    kind: ModelKind
    """Backbone or ensemble."""
    roc: Mapping[str, RocCurve]
    """Class name to curve, in class order; classes in `undefined` are left out."""
    macro_roc: RocCurve | None
    """Mean of the true-positive rates of all classes at each false-positive rate; None when `undefined` names any."""
    precision_recall: Mapping[str, PrecisionRecallCurve]
    """Class name to curve, in class order; classes in `undefined` are left out."""
    reliability: ReliabilityDiagram
    """Highest probability of each image against whether that class is right."""
    class_reliability: Mapping[str, ReliabilityDiagram]
    """Class name to the diagram of that class's probability, one against the rest; every class."""
    confusion: ConfusionMatrix
    """Every image at its most probable class."""
    undefined: Mapping[str, str]
    """Class name to the reason why it has no ROC and no precision-recall curve."""


@dataclass(frozen=True, kw_only=True)
class Curves:
    """The curves of all models."""

    classes: tuple[str, ...]
    """Class names in column order."""
    models: Mapping[str, ModelCurves]
    """Model name to curves, in the order of ``predictions.csv``."""


def compute_curves(predictions: Predictions) -> Curves:
    """Compute the curves of every model on all images.

    Parameters
    ----------
    predictions : Predictions
        Out-of-fold probabilities.

    Returns
    -------
    Curves
        Curves of more than 400 points are thinned to 400 at equal distances along the curve: no point that is
        left out is farther than 1/399 of the curve's length from one that stays, which is finer than a screen
        shows. Areas are those of the full curves.
    """
    return Curves(
        classes=predictions.classes,
        models={
            model: _model_curves(model, predictions, probabilities)
            for model, probabilities in predictions.probabilities.items()
        },
    )


def _model_curves(model: str, predictions: Predictions, probabilities: FloatArray) -> ModelCurves:
    labels, classes = predictions.labels, predictions.classes
    undefined = _classes_without_curves(labels, classes)
    predicted = probabilities.argmax(axis=1)
    of_class = {name: labels == index for index, name in enumerate(classes)}
    score = {name: probabilities[:, index] for index, name in enumerate(classes)}
    defined = [name for name in classes if name not in undefined]
    full = {name: _full_roc(of_class[name], score[name]) for name in defined}
    return ModelCurves(
        name=model,
        kind=predictions.kinds[model],
        roc={name: _thinned_roc(curve) for name, curve in full.items()},
        macro_roc=None if undefined else _thinned_roc(_mean_roc(list(full.values()))),
        precision_recall={name: _precision_recall(of_class[name], score[name]) for name in defined},
        reliability=reliability_diagram(probabilities.max(axis=1), predicted == labels),
        class_reliability={name: reliability_diagram(score[name], of_class[name]) for name in classes},
        confusion=confusion_matrix(labels, predicted, len(classes)),
        undefined=undefined,
    )


def _classes_without_curves(labels: IntArray, classes: tuple[str, ...]) -> dict[str, str]:
    counts = np.bincount(labels, minlength=len(classes))
    reasons: dict[str, str] = {}
    for name, count in zip(classes, counts.tolist(), strict=True):
        if count in (0, len(labels)):
            reasons[name] = "every image is of this class" if count else "no image of this class"
    return reasons


def reliability_diagram(confidence: FloatArray, right: BoolArray) -> ReliabilityDiagram:
    """Compare confidence with frequency in 15 equal-mass bins.

    Parameters
    ----------
    confidence : (n,) array of float64
        Predicted probabilities, n at least 1.
    right : (n,) array of bool
        Whether what was predicted with that probability is true.

    Returns
    -------
    ReliabilityDiagram
        Intervals after Wilson, J. Am. Stat. Assoc. 22 (1927) 209-212.
    """
    bins = equal_mass_bins(confidence)
    sizes = np.bincount(bins, minlength=N_BINS)
    filled = sizes > 0
    counts: IntArray = sizes[filled].astype(np.int64)
    confident = np.bincount(bins, weights=confidence, minlength=N_BINS)[filled]
    true = np.bincount(bins, weights=right, minlength=N_BINS)[filled].astype(np.float64)
    low, high = _wilson(true, counts)
    return ReliabilityDiagram(
        mean_confidence=frozen(confident / counts),
        observed=frozen(true / counts),
        counts=frozen(counts, np.int64),
        low=low,
        high=high,
        ece=float(abs(confident - true).sum() / len(confidence)),
    )


def _wilson(true: FloatArray, counts: IntArray) -> tuple[FloatArray, FloatArray]:
    z = float(norm.ppf(0.975))
    share = true / counts
    centre = (share + z**2 / (2 * counts)) / (1 + z**2 / counts)
    half = z / (1 + z**2 / counts) * np.sqrt(share * (1 - share) / counts + z**2 / (4 * counts**2))
    return frozen(np.clip(centre - half, 0, 1)), frozen(np.clip(centre + half, 0, 1))


def confusion_matrix(labels: IntArray, predicted: IntArray, n_classes: int) -> ConfusionMatrix:
    """Count labels against predictions.

    Parameters
    ----------
    labels, predicted : (n,) array of int64
        Class numbers from 0 to ``n_classes - 1``.
    n_classes : int
        Number of classes.
    """
    counts = np.bincount(labels * n_classes + predicted, minlength=n_classes**2).reshape(n_classes, n_classes)
    rows = counts.sum(axis=1, keepdims=True)
    rates = np.where(rows > 0, counts / np.maximum(rows, 1), np.nan)
    return ConfusionMatrix(counts=frozen(counts, np.int64), rates=frozen(rates))


def _full_roc(of_class: BoolArray, score: FloatArray) -> RocCurve:
    false_positive_rate, true_positive_rate, _ = roc_curve(of_class, score)
    return RocCurve(
        false_positive_rate=false_positive_rate,
        true_positive_rate=true_positive_rate,
        auc=float(np.trapezoid(true_positive_rate, false_positive_rate)),
    )


def _mean_roc(curves: list[RocCurve]) -> RocCurve:
    """Average vertically at every rate that any curve has, keeping both ends of a vertical stretch."""
    grid = np.unique(np.concatenate([curve.false_positive_rate for curve in curves]))
    below, above = np.zeros_like(grid), np.zeros_like(grid)
    for curve in curves:
        rates, first, counts = np.unique(curve.false_positive_rate, return_index=True, return_counts=True)
        foot, head = curve.true_positive_rate[first], curve.true_positive_rate[first + counts - 1]
        right = np.searchsorted(rates, grid)
        left = np.maximum(right - 1, 0)
        on_curve = rates[right] == grid
        run = np.where(on_curve, 1.0, rates[right] - rates[left])
        between = head[left] + (foot[right] - head[left]) * (grid - rates[left]) / run
        below += np.where(on_curve, foot[right], between)
        above += np.where(on_curve, head[right], between)
    return RocCurve(
        false_positive_rate=np.repeat(grid, 2),
        true_positive_rate=np.stack([below, above], axis=1).ravel() / len(curves),
        auc=float(np.mean([curve.auc for curve in curves])),
    )


def _thinned_roc(curve: RocCurve) -> RocCurve:
    kept = _thin(curve.false_positive_rate, curve.true_positive_rate)
    return RocCurve(
        false_positive_rate=frozen(curve.false_positive_rate[kept]),
        true_positive_rate=frozen(curve.true_positive_rate[kept]),
        auc=curve.auc,
    )


def _precision_recall(of_class: BoolArray, score: FloatArray) -> PrecisionRecallCurve:
    falling_precision, falling_recall, _ = precision_recall_curve(of_class, score)
    precision, recall = falling_precision[::-1], falling_recall[::-1]
    kept = _thin(recall, precision)
    return PrecisionRecallCurve(
        recall=frozen(recall[kept]),
        precision=frozen(precision[kept]),
        average_precision=float((np.diff(recall) * precision[1:]).sum()),
        prevalence=float(of_class.mean()),
    )


def _thin(x: FloatArray, y: FloatArray) -> IntArray:
    """Choose the points that stay: the first at or beyond each of 400 equal distances along the curve."""
    if len(x) <= MOST_POINTS:
        return np.arange(len(x))
    distance = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    kept = np.searchsorted(distance, np.linspace(0.0, distance[-1], MOST_POINTS))
    return np.unique(kept)
