"""The metrics as scikit-learn computes them, one plain call each, and predictions to try them on."""

from __future__ import annotations

import numpy as np
from sklearn import metrics

from cv_folds.arrays import FloatArray, IntArray
from ensemble.predictions import Predictions


def reference_overall(labels: IntArray, probabilities: FloatArray, ece_bins: IntArray) -> dict[str, float]:
    """Score rows in which every class occurs; `ece_bins` numbers the calibration bin of each row."""
    every = list(range(probabilities.shape[1]))
    predicted = probabilities.argmax(axis=1)
    return {
        "accuracy": metrics.accuracy_score(labels, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, predicted),
        "macro_f1": metrics.f1_score(labels, predicted, labels=every, average="macro", zero_division=0),
        "weighted_f1": metrics.f1_score(labels, predicted, labels=every, average="weighted", zero_division=0),
        "macro_auc": metrics.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro"),
        "log_loss": metrics.log_loss(labels, probabilities, labels=every),
        "brier": metrics.brier_score_loss(labels, probabilities, labels=every, scale_by_half=False),
        "ece": plain_ece(probabilities.max(axis=1), predicted == labels, ece_bins),
        "mcc": metrics.matthews_corrcoef(labels, predicted),
        "kappa": metrics.cohen_kappa_score(labels, predicted),
    }


def reference_of_class(label: int, labels: IntArray, probabilities: FloatArray, ece_bins: IntArray) -> dict[str, float]:
    """Score one class against the rest; a value that scikit-learn calls undefined is NaN."""
    of_class = (labels == label).astype(int)
    predicted = (probabilities.argmax(axis=1) == label).astype(int)
    score = probabilities[:, label]
    return {
        "f1": metrics.f1_score(of_class, predicted, zero_division=np.nan),
        "auc": metrics.roc_auc_score(of_class, score),
        "precision": metrics.precision_score(of_class, predicted, zero_division=np.nan),
        "recall": metrics.recall_score(of_class, predicted, zero_division=np.nan),
        "specificity": metrics.recall_score(1 - of_class, 1 - predicted, zero_division=np.nan),
        "average_precision": metrics.average_precision_score(of_class, score),
        "brier": metrics.brier_score_loss(of_class, score),
        "ece": plain_ece(score, of_class == 1, ece_bins),
        "support": of_class.sum(),
    }


def plain_ece(confidence: FloatArray, right: FloatArray | IntArray, bins: IntArray) -> float:
    """Weigh the gap between confidence and frequency of each bin by its share of the rows."""
    gaps = [
        (bins == number).mean() * abs(confidence[bins == number].mean() - right[bins == number].mean())
        for number in np.unique(bins)
    ]
    return float(sum(gaps))


def random_probabilities(
    labels: IntArray, n_classes: int, generator: np.random.Generator, *, decimals: int | None = None
) -> FloatArray:
    """Draw probabilities that know something of the labels; few `decimals` make many ties."""
    logits = generator.normal(size=(len(labels), n_classes))
    logits[np.arange(len(labels)), labels] += 1.0
    rows = np.exp(logits)
    rows /= rows.sum(axis=1, keepdims=True)
    if decimals is not None:
        rows = np.maximum(rows.round(decimals), 10.0**-decimals)
        rows /= rows.sum(axis=1, keepdims=True)
    return rows


def random_labels(n: int, n_classes: int, generator: np.random.Generator) -> IntArray:
    """Draw unbalanced labels in which every class occurs at least twice."""
    shares = 0.5 ** np.arange(n_classes)
    drawn = generator.choice(n_classes, size=n - 2 * n_classes, p=shares / shares.sum())
    return generator.permutation(np.concatenate([drawn, np.repeat(np.arange(n_classes), 2)]))


def as_predictions(
    labels: IntArray,
    models: dict[str, FloatArray],
    *,
    groups: IntArray | None = None,
    folds: IntArray | None = None,
) -> Predictions:
    """Wrap arrays; models named ``soft_vote`` and ``stack`` are ensembles."""
    n = len(labels)
    names = np.array([f"lesion-{group:04d}" for group in (np.arange(n) if groups is None else groups)])
    return Predictions(
        image_ids=np.array([f"image-{row:05d}" for row in range(n)]),
        lesion_ids=names,
        groups=names,
        folds=np.arange(n) % 2 if folds is None else folds,
        labels=labels,
        classes=tuple(f"class-{label}" for label in range(next(iter(models.values())).shape[1])),
        probabilities=models,
        kinds={model: "ensemble" if model in ("soft_vote", "stack") else "backbone" for model in models},
    )
