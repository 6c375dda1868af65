"""The metrics beyond those of `reports.metrics`, from the same resamples and partly from the same sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv_folds.arrays import BoolArray, FloatArray, IntArray
from reports.bin_sums import BinSums, BinTotals, sum_bins
from reports.brier_parts import BrierParts, brier_parts
from reports.confusion_metrics import confusion_metrics, ratio
from reports.group_sums import Totals
from reports.malignant import MALIGNANT_METRICS, THRESHOLDS, MalignantScores, MalignantTable, malignant_table
from reports.metrics import CLASS_METRICS, OVERALL_METRICS, Scores, ScoreTable, score_table
from reports.ranking import Ranking, descend, rank
from reports.risk_coverage import COVERAGES, risk_coverage

BRIER_PARTS = (
    "brier_reliability",
    "brier_resolution",
    "brier_uncertainty",
    "brier_within_variance",
    "brier_within_covariance",
)
FURTHER_METRICS = (
    "balanced_multiclass_accuracy",
    "geometric_mean",
    "index_balanced_accuracy",
    "top2_accuracy",
    "aurc",
    "excess_aurc",
    "ece_equal_width",
    "classwise_ece",
    "debiased_calibration_error",
    "max_calibration_error",
    *BRIER_PARTS,
)
FURTHER_CLASS_METRICS = ("geometric_mean", "index_balanced_accuracy", *BRIER_PARTS)

DOMINANCE_WEIGHT = 0.1
"""Of the index of balanced accuracy; imbalanced-learn's default."""


@dataclass(frozen=True, kw_only=True)
class FullScores:
    """All metrics of one model in r resamples; NaN where undefined."""

    scores: Scores
    """The metrics of `reports.metrics`."""
    overall: Mapping[str, FloatArray]
    """Each of `FURTHER_METRICS` to (r,) values."""
    per_class: Mapping[str, FloatArray]
    """Each of `FURTHER_CLASS_METRICS` to (r, n_classes) values."""
    malignant: MalignantScores | None
    """Malignant against benign; None when not both kinds of classes are there."""
    risk: FloatArray
    """(r, t) share of errors among the most confident, at each of `reports.risk_coverage.COVERAGES`."""


@dataclass(frozen=True, kw_only=True)
class FullTable:
    """What has to be known of a model's predictions to score any resample of the groups with all metrics."""

    basic: ScoreTable
    """For the metrics of `reports.metrics`."""
    bins: BinSums
    """For the calibration errors."""
    errors: Ranking
    """The wrong answers among all, by the highest probability."""
    malignant: MalignantTable | None
    """For malignant against benign; None when not both kinds of classes are there."""

    def score(self, counts: NDArray[np.int32]) -> FullScores:
        """Compute all metrics of every resample.

        Parameters
        ----------
        counts : (r, n_groups) array of int32
            How often each group is in each resample; at least one group in each.

        Returns
        -------
        FullScores
            ``balanced_multiclass_accuracy`` is the mean recall of all classes, as in the ISIC 2018 challenge, and
            undefined when a class has no image, where scikit-learn's balanced accuracy leaves the class out.
            ``geometric_mean`` and ``index_balanced_accuracy`` are those of imbalanced-learn (Barandela et al., Pattern
            Recognit. 36 (2003) 849-851; García, Mollineda and Sánchez, IbPRIA 2009), overall of all recalls, for a
            class of its sensitivity and specificity. ``top2_accuracy`` is scikit-learn's. ``ece_equal_width`` is that
            of Guo et al., ICML 2017, with 15 bins; ``classwise_ece`` the mean of the classes' ``ece`` (Kull et al.,
            NeurIPS 2019); ``max_calibration_error`` the largest gap in a bin (Naeini et al., AAAI 2015) of equal
            mass. ``debiased_calibration_error``: see `debiased_error`. Brier parts: `reports.brier_parts`, summed
            over the classes overall. ``aurc``: `reports.risk_coverage`.
        """
        totals = self.basic.sums.totals(counts.astype(np.float64))
        by_group = np.ascontiguousarray(counts.T)
        bins = self.bins.totals(by_group)
        scores = self.basic.score_totals(totals, by_group)
        risk = risk_coverage(self.errors, descend(self.errors, by_group))
        parts = _brier_parts(totals, bins)
        balance = _balance(totals.confusion)
        images = totals.confusion.sum(axis=(1, 2))
        overall = {
            **balance.overall,
            "top2_accuracy": bins.top_two / images if self.basic.sums.n_classes > 2 else np.full(len(images), np.nan),
            "aurc": risk.area,
            "excess_aurc": risk.excess,
            "ece_equal_width": abs(bins.width_gaps).sum(axis=1) / images,
            "classwise_ece": scores.per_class["ece"].mean(axis=1),
            "debiased_calibration_error": debiased_error(totals.top_gaps, bins.top_hits, bins.top_counts),
            "max_calibration_error": np.nanmax(ratio(abs(totals.top_gaps), bins.top_counts), axis=1),
            **{name: values.sum(axis=1) for name, values in parts.items()},
        }
        return FullScores(
            scores=scores,
            overall={metric: overall[metric] for metric in FURTHER_METRICS},
            per_class={**balance.per_class, **parts},
            malignant=None if self.malignant is None else self.malignant.score(totals.confusion, by_group),
            risk=risk.risk,
        )


def full_table(
    labels: IntArray, probabilities: FloatArray, malignant: BoolArray, groups: IntArray, n_groups: int
) -> FullTable:
    """Gather what scores the predictions of one model with all metrics.

    Parameters
    ----------
    labels : (n,) array of int64
        Column numbers of the true classes.
    probabilities : (n, c) array of float64
        Predicted probabilities, every row summing to 1.
    malignant : (c,) array of bool
        Which classes are malignant; all the same when there is no such distinction.
    groups : (n,) array of int64
        Group numbers from 0 to ``n_groups - 1``.
    n_groups : int
        Number of groups.
    """
    distinct = malignant.any() and not malignant.all()
    wrong = probabilities.argmax(axis=1) != labels
    return FullTable(
        basic=score_table(labels, probabilities, groups, n_groups),
        bins=sum_bins(labels, probabilities, groups, n_groups),
        errors=rank(probabilities.max(axis=1), wrong, groups, n_groups),
        malignant=malignant_table(labels, probabilities, malignant, groups, n_groups) if distinct else None,
    )


def score_fully(labels: IntArray, probabilities: FloatArray, malignant: BoolArray) -> FullScores:
    """Score every image once with all metrics.

    Parameters
    ----------
    labels : (n,) array of int64
        Column numbers of the true classes, n at least 1.
    probabilities : (n, c) array of float64
        Predicted probabilities, every row summing to 1.
    malignant : (c,) array of bool
        Which classes are malignant; all the same when there is no such distinction.

    Returns
    -------
    FullScores
        With r = 1.
    """
    assert len(labels) > 0
    together = np.zeros(len(labels), dtype=np.int64)
    return full_table(labels, probabilities, malignant, together, 1).score(np.ones((1, 1), dtype=np.int32))


def debiased_error(gaps: FloatArray, hits: FloatArray, counts: FloatArray) -> FloatArray:
    """Return the root mean squared calibration error, with the noise of the frequencies taken off.

    Parameters
    ----------
    gaps : (r, b) array of float64
        Sum of confidence minus 0 or 1 in each bin.
    hits : (r, b) array of float64
        Right answers in each bin.
    counts : (r, b) array of float64
        Images in each bin.

    Returns
    -------
    (r,) array of float64
        The debiased estimator of Kumar, Liang and Ma, Verified uncertainty calibration, NeurIPS 2019, of the squared
        error; its root, or 0 where the noise explains all and more. It takes images as independent, so for several
        images a lesion it takes too little off. NaN when a bin holds a single image.
    """
    frequency = ratio(hits, counts)
    noise = ratio(frequency * (1 - frequency), np.maximum(counts - 1, 0))
    squared = counts * (ratio(gaps, counts) ** 2 - noise)
    total = np.where(counts > 0, squared, 0.0).sum(axis=1) / counts.sum(axis=1)
    root: FloatArray = np.sqrt(np.maximum(total, 0.0))
    return root


def _brier_parts(totals: Totals, bins: BinTotals) -> dict[str, FloatArray]:
    images_of_class = totals.confusion.sum(axis=2)
    # Summed over images, (p - y)^2 is the sum of p^2, less twice that of p over images of the class, plus their number.
    of_class = (bins.class_squares + images_of_class - totals.squared_errors) / 2
    parts: BrierParts = brier_parts(
        bins.class_counts,
        bins.class_hits,
        totals.class_gaps + bins.class_hits,
        np.stack([bins.class_squares, of_class], axis=2),
    )
    return {
        "brier_reliability": parts.reliability,
        "brier_resolution": parts.resolution,
        "brier_uncertainty": parts.uncertainty,
        "brier_within_variance": parts.within_variance,
        "brier_within_covariance": parts.within_covariance,
    }


@dataclass(frozen=True, kw_only=True)
class _Balance:
    overall: dict[str, FloatArray]
    per_class: dict[str, FloatArray]


def _balance(confusion: FloatArray) -> _Balance:
    matrix = confusion_metrics(confusion)
    recall, specificity = matrix.recall, matrix.specificity
    # A product with NaN is NaN: undefined when a class has no image.
    geometric = recall.prod(axis=1) ** (1 / recall.shape[1])
    dominance = recall.mean(axis=1) - specificity.mean(axis=1)
    return _Balance(
        overall={
            "balanced_multiclass_accuracy": recall.mean(axis=1),
            "geometric_mean": geometric,
            "index_balanced_accuracy": (1 + DOMINANCE_WEIGHT * dominance) * geometric**2,
        },
        per_class={
            "geometric_mean": np.sqrt(recall * specificity),
            "index_balanced_accuracy": (1 + DOMINANCE_WEIGHT * (recall - specificity)) * recall * specificity,
        },
    )


def join(parts: Sequence[FullScores], n_classes: int) -> FullScores:
    """Put the resamples of several blocks one after the other.

    Parameters
    ----------
    parts : sequence of FullScores
        Of one model.
    n_classes : int
        Number of classes, for the shapes when there is no part.
    """
    none, none_of_class = np.empty(0), np.empty((0, n_classes))
    malignant = [part.malignant for part in parts if part.malignant is not None]
    return FullScores(
        scores=Scores(
            overall=_joined([part.scores.overall for part in parts], OVERALL_METRICS, none),
            per_class=_joined([part.scores.per_class for part in parts], CLASS_METRICS, none_of_class),
        ),
        overall=_joined([part.overall for part in parts], FURTHER_METRICS, none),
        per_class=_joined([part.per_class for part in parts], FURTHER_CLASS_METRICS, none_of_class),
        malignant=MalignantScores(
            metrics=_joined([part.metrics for part in malignant], MALIGNANT_METRICS, none),
            net_benefit=np.concatenate([np.empty((0, len(THRESHOLDS))), *(part.net_benefit for part in malignant)]),
        ),
        risk=np.concatenate([np.empty((0, len(COVERAGES))), *(part.risk for part in parts)]),
    )


def _joined(
    parts: Sequence[Mapping[str, FloatArray]], metrics: Sequence[str], none: FloatArray
) -> dict[str, FloatArray]:
    return {metric: np.concatenate([none, *(part[metric] for part in parts)]) for metric in metrics}
