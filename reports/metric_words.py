"""What every metric is called, which direction is good, and what it means in one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class MetricWords:
    """The words for one metric."""

    label: str
    """Heading."""
    better: Literal["higher", "lower", "neither"]
    """Which direction is good."""
    explain: str
    """One sentence."""


METRICS: dict[str, MetricWords] = {
    "accuracy": MetricWords(label="Accuracy", better="higher", explain="Share of images with the right class."),
    "balanced_accuracy": MetricWords(
        label="Balanced accuracy", better="higher", explain="Mean of the classes' recalls; every class counts the same."
    ),
    "macro_f1": MetricWords(
        label="Macro F1", better="higher", explain="Mean of the classes' F1; every class counts the same."
    ),
    "weighted_f1": MetricWords(
        label="Weighted F1", better="higher", explain="Mean of the classes' F1, weighted by their number of images."
    ),
    "macro_auc": MetricWords(
        label="Macro AUC",
        better="higher",
        explain="Mean of the classes' areas under the ROC curve, one against the rest.",
    ),
    "log_loss": MetricWords(
        label="Log-loss", better="lower", explain="Mean of -ln of the probability given to the true class, in nats."
    ),
    "brier": MetricWords(
        label="Brier score",
        better="lower",
        explain="Mean squared distance between probabilities and truth; summed over the classes, not halved.",
    ),
    "ece": MetricWords(
        label="ECE",
        better="lower",
        explain="Expected calibration error: mean gap between confidence and frequency in 15 equal-mass bins.",
    ),
    "mcc": MetricWords(label="MCC", better="higher", explain="Matthews correlation coefficient over all classes."),
    "kappa": MetricWords(
        label="Cohen’s κ", better="higher", explain="Agreement with the truth beyond chance, not weighted."
    ),
    "f1": MetricWords(label="F1", better="higher", explain="Harmonic mean of precision and recall."),
    "auc": MetricWords(label="AUC", better="higher", explain="Area under the ROC curve of the class against the rest."),
    "precision": MetricWords(
        label="Precision",
        better="higher",
        explain="Share right among the images given this class (positive predictive value).",
    ),
    "recall": MetricWords(
        label="Recall", better="higher", explain="Share found among the images of this class (sensitivity)."
    ),
    "specificity": MetricWords(
        label="Specificity", better="higher", explain="Share not given this class among the images of other classes."
    ),
    "average_precision": MetricWords(
        label="Average precision", better="higher", explain="Step-wise area under the precision-recall curve."
    ),
    "balanced_multiclass_accuracy": MetricWords(
        label="Balanced multi-class accuracy",
        better="higher",
        explain="That of the ISIC 2018 challenge: mean of the classes' recalls, undefined when a class has no image.",
    ),
    "geometric_mean": MetricWords(
        label="Geometric mean",
        better="higher",
        explain="Geometric mean of the classes' recalls; for one class, of its sensitivity and specificity.",
    ),
    "index_balanced_accuracy": MetricWords(
        label="IBA",
        better="higher",
        explain="Index of balanced accuracy: the squared geometric mean, weighted up where sensitivity exceeds "
        "specificity.",
    ),
    "top2_accuracy": MetricWords(
        label="Top-2 accuracy", better="higher", explain="Share of images whose class is among the two most probable."
    ),
    "aurc": MetricWords(
        label="AURC",
        better="lower",
        explain="Area under the risk-coverage curve: mean share of errors among the most confident images, however "
        "many are kept.",
    ),
    "excess_aurc": MetricWords(
        label="Excess AURC",
        better="lower",
        explain="AURC less that of a confidence that puts every error last.",
    ),
    "ece_equal_width": MetricWords(
        label="ECE, equal width", better="lower", explain="As ECE, in 15 bins of equal width."
    ),
    "classwise_ece": MetricWords(label="Class-wise ECE", better="lower", explain="Mean of the classes' ECE."),
    "debiased_calibration_error": MetricWords(
        label="Debiased calibration error",
        better="lower",
        explain="Root mean square of the gaps behind the ECE, with the noise of the frequencies taken off; 0 where the "
        "noise explains all.",
    ),
    "max_calibration_error": MetricWords(
        label="Maximum calibration error", better="lower", explain="Largest of the gaps behind the ECE."
    ),
    "brier_reliability": MetricWords(
        label="Reliability",
        better="lower",
        explain="Part of the Brier score: squared gap between a bin's mean probability and its frequency.",
    ),
    "brier_resolution": MetricWords(
        label="Resolution",
        better="higher",
        explain="Part of the Brier score, taken off: how far the bins' frequencies lie apart.",
    ),
    "brier_uncertainty": MetricWords(
        label="Uncertainty", better="neither", explain="Part of the Brier score that the data alone decide."
    ),
    "brier_within_variance": MetricWords(
        label="Within-bin variance",
        better="neither",
        explain="Part of the Brier score: how far the probabilities of a bin lie apart.",
    ),
    "brier_within_covariance": MetricWords(
        label="Within-bin covariance",
        better="neither",
        explain="Part of the Brier score, taken off: how far they go with the truth within the bin.",
    ),
    "sensitivity": MetricWords(
        label="Sensitivity",
        better="higher",
        explain="Share of malignant images whose most probable class is a malignant one.",
    ),
    "partial_auc": MetricWords(
        label="Partial AUC",
        better="higher",
        explain="Area under the ROC curve above a sensitivity of 80 %, standardised: 0.5 is chance, 1 perfect.",
    ),
    "partial_auc_raw": MetricWords(
        label="Partial AUC, raw",
        better="higher",
        explain="The same area as the ISIC 2024 challenge gives it: 0.02 is chance, 0.2 perfect.",
    ),
    **{
        f"{found}_at_{percent}_{kept}": MetricWords(
            label=f"{found[:4].capitalize()}. at {percent} % {kept[:4]}.",
            better="higher",
            explain=f"Highest {found} of a threshold whose {kept} is at least {percent} %.",
        )
        for found, kept in (("sensitivity", "specificity"), ("specificity", "sensitivity"))
        for percent in (90, 95)
    },
    "malignant_auc": MetricWords(
        label="Malignant AUC",
        better="higher",
        explain="Area under the ROC curve of the malignant classes together against the others.",
    ),
    "malignant_sensitivity": MetricWords(
        label="Malignant sens.",
        better="higher",
        explain="Share of malignant images whose most probable class is a malignant one.",
    ),
    "malignant_specificity": MetricWords(
        label="Malignant spec.",
        better="higher",
        explain="Share of benign images whose most probable class is a benign one.",
    ),
    "support": MetricWords(label="Images", better="neither", explain="Number of images of this class."),
}
