"""The further metrics row by row, from their definitions or from scikit-learn and imbalanced-learn."""

from __future__ import annotations

import numpy as np
from imblearn.metrics import geometric_mean_score, make_index_balanced_accuracy
from sklearn import metrics

from cv_folds.arrays import BoolArray, FloatArray, IntArray
from reports.equal_mass import N_BINS


def reference_further(
    labels: IntArray, probabilities: FloatArray, top_bins: IntArray, class_bins: IntArray
) -> dict[str, float]:
    """Score rows in which every one of three or more classes occurs; the bins are numbered by the caller."""
    every = list(range(probabilities.shape[1]))
    predicted, top = probabilities.argmax(axis=1), probabilities.max(axis=1)
    parts = [reference_brier_parts(probabilities[:, k], labels == k, class_bins[:, k]) for k in every]
    balanced_index = make_index_balanced_accuracy(alpha=0.1, squared=True)(geometric_mean_score)
    return {
        "balanced_multiclass_accuracy": metrics.balanced_accuracy_score(labels, predicted),
        "geometric_mean": geometric_mean_score(labels, predicted, labels=every),
        "index_balanced_accuracy": balanced_index(labels, predicted, labels=every),
        "top2_accuracy": metrics.top_k_accuracy_score(labels, probabilities, k=2, labels=every),
        "aurc": reference_aurc(top, predicted != labels),
        "excess_aurc": reference_aurc(top, predicted != labels)
        - reference_aurc((predicted == labels).astype(float), predicted != labels),
        "ece_equal_width": _gap(top, predicted == labels, _width_bins(top)),
        "classwise_ece": float(np.mean([_gap(probabilities[:, k], labels == k, class_bins[:, k]) for k in every])),
        "debiased_calibration_error": reference_debiased(top, predicted == labels, top_bins),
        "max_calibration_error": max(
            abs(top[top_bins == number].mean() - (predicted == labels)[top_bins == number].mean())
            for number in np.unique(top_bins)
        ),
        **{name: sum(part[name] for part in parts) for name in parts[0]},
    }


def reference_of_class(label: int, labels: IntArray, probabilities: FloatArray, bins: IntArray) -> dict[str, float]:
    """Score one class against the rest."""
    of_class, predicted = labels == label, probabilities.argmax(axis=1) == label
    balanced_index = make_index_balanced_accuracy(alpha=0.1, squared=True)(geometric_mean_score)
    return {
        "geometric_mean": geometric_mean_score(of_class, predicted, average="binary", pos_label=True),
        "index_balanced_accuracy": balanced_index(of_class, predicted, average="binary", pos_label=True),
        **reference_brier_parts(probabilities[:, label], of_class, bins),
    }


def reference_malignant(
    malignant: BoolArray, score: FloatArray, called: BoolArray, thresholds: tuple[float, ...]
) -> tuple[dict[str, float], list[float]]:
    """Score malignant against benign, both present, and return the net benefit at each threshold too."""
    false_rate, true_rate, _ = metrics.roc_curve(malignant, score, drop_intermediate=False)
    n, n_malignant, n_benign = len(score), malignant.sum(), (~malignant).sum()
    false, true = np.rint(false_rate * n_benign), np.rint(true_rate * n_malignant)
    # Benign as the positive class: what is malignant and missed becomes the false positive rate, which stops at 0.2.
    standardised = metrics.roc_auc_score(~malignant, -score, max_fpr=0.2)
    found = {
        "auc": metrics.roc_auc_score(malignant, score),
        "average_precision": metrics.average_precision_score(malignant, score),
        "partial_auc": standardised,
        "partial_auc_raw": 0.02 + (2 * standardised - 1) * (0.2 - 0.02),
        "sensitivity": metrics.recall_score(malignant, called),
        "specificity": metrics.recall_score(~malignant, ~called),
    }
    for percent in (90, 95):
        found[f"sensitivity_at_{percent}_specificity"] = true_rate[100 * (n_benign - false) >= percent * n_benign].max()
        found[f"specificity_at_{percent}_sensitivity"] = 1 - false_rate[100 * true >= percent * n_malignant].min()
    benefit = [
        float((malignant & (score >= t)).sum() / n - (~malignant & (score >= t)).sum() / n * t / (1 - t))
        for t in thresholds
    ]
    return found, benefit


def reference_aurc(confidence: FloatArray, wrong: BoolArray) -> float:
    """Mean risk over the coverages, ties answered in random order."""
    risks: list[float] = []
    errors = answered = 0.0
    for value in np.unique(confidence)[::-1]:
        tied = wrong[confidence == value]
        risks += [(errors + tied.mean() * position) / (answered + position) for position in range(1, len(tied) + 1)]
        errors, answered = errors + tied.sum(), answered + len(tied)
    return float(np.mean(risks))


def reference_brier_parts(score: FloatArray, of_class: BoolArray, bins: IntArray) -> dict[str, float]:
    """Sum the five parts image by image."""
    base = of_class.mean()
    means = {number: score[bins == number].mean() for number in np.unique(bins)}
    shares = {number: of_class[bins == number].mean() for number in np.unique(bins)}
    mean = np.array([means[number] for number in bins])
    share = np.array([shares[number] for number in bins])
    return {
        "brier_reliability": float(((mean - share) ** 2).mean()),
        "brier_resolution": float(((share - base) ** 2).mean()),
        "brier_uncertainty": float(base * (1 - base)),
        "brier_within_variance": float(((score - mean) ** 2).mean()),
        "brier_within_covariance": float(2 * ((of_class - share) * (score - mean)).mean()),
    }


def reference_debiased(score: FloatArray, right: BoolArray, bins: IntArray) -> float:
    """Take the noise of each bin's frequency off its squared gap; NaN with a bin of one image."""
    total = 0.0
    for number in np.unique(bins):
        inside = right[bins == number].astype(float)
        if len(inside) < 2:
            return float("nan")
        gap = score[bins == number].mean() - inside.mean()
        total += len(inside) / len(score) * (gap**2 - inside.var(ddof=1) / len(inside))
    return float(np.sqrt(max(total, 0.0)))


def _width_bins(values: FloatArray) -> IntArray:
    edges = np.arange(N_BINS + 1) / N_BINS
    return np.array([np.flatnonzero((edges[:-1] < value) & (value <= edges[1:]))[0] for value in values])


def _gap(score: FloatArray, right: BoolArray, bins: IntArray) -> float:
    return float(sum(abs((score - right)[bins == number].sum()) for number in np.unique(bins)) / len(score))
