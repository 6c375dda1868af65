"""The metrics of one model, on all images or on many resamples of their groups at once.

Values are those of scikit-learn on the same rows. Two conventions differ from its return values, because an
undefined metric is no number here: what it gives as 0 with a warning (precision of a class never predicted, F1 of
a class neither there nor predicted, Matthews correlation of a constant prediction) is undefined. As in
scikit-learn, balanced accuracy is the mean over the classes that have images, and macro F1 the mean over all
classes with an undefined F1 counting 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv_folds.arrays import FloatArray, IntArray
from reports.confusion_metrics import confusion_metrics
from reports.group_sums import GroupSums, Totals, sum_groups
from reports.ranking import Ranking, descend, rank, ranking_metrics

OVERALL_METRICS = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "weighted_f1",
    "macro_auc",
    "log_loss",
    "brier",
    "ece",
    "mcc",
    "kappa",
)
CLASS_METRICS = ("f1", "auc", "precision", "recall", "specificity", "average_precision", "brier", "ece", "support")
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "ece"})


@dataclass(frozen=True, kw_only=True)
class Scores:
    """All metrics of one model in r resamples; NaN where undefined."""

    overall: Mapping[str, FloatArray]
    """Each of `OVERALL_METRICS` to (r,) values."""
    per_class: Mapping[str, FloatArray]
    """Each of `CLASS_METRICS` to (r, n_classes) values, one class against the rest."""


@dataclass(frozen=True, kw_only=True)
class ScoreTable:
    """What has to be known of a model's predictions to score any resample of the groups."""

    sums: GroupSums
    """For the metrics that are sums over images."""
    rankings: tuple[Ranking, ...]
    """For the metrics that depend on the order of the scores, one a class."""

    def score(self, counts: NDArray[np.int32]) -> Scores:
        """Compute all metrics of every resample.

        Parameters
        ----------
        counts : (r, n_groups) array of int32
            How often each group is in each resample; at least one group in each.

        Returns
        -------
        Scores
            ``log_loss`` is clipped as in scikit-learn. ``brier`` is unhalved: the mean over images of the sum of
            squares over classes (Brier, Mon. Weather Rev. 78 (1950) 1-3); for a class, its own term alone. ``ece``
            is the expected calibration error over 15 equal-mass bins, of the highest probability overall, of the
            class's probability for a class (Naeini et al., AAAI 2015; bins as in `reports.equal_mass`). One-vs-rest
            areas: Hanley and McNeil, Radiology 143 (1982) 29-36.
        """
        return self.score_totals(self.sums.totals(counts.astype(np.float64)), np.ascontiguousarray(counts.T))

    def score_totals(self, totals: Totals, by_group: NDArray[np.int32]) -> Scores:
        """Compute all metrics from sums that are there already.

        Parameters
        ----------
        totals : Totals
            Of the resamples.
        by_group : (n_groups, r) array of int32, C order
            How often each group is in each of them.
        """
        images = totals.confusion.sum(axis=(1, 2))
        matrix = confusion_metrics(totals.confusion)
        ranked = [ranking_metrics(ranking, descend(ranking, by_group)) for ranking in self.rankings]
        auc = np.stack([part.auc for part in ranked], axis=1)
        overall = {
            "accuracy": matrix.accuracy,
            "balanced_accuracy": matrix.balanced_accuracy,
            "macro_f1": matrix.macro_f1,
            "weighted_f1": matrix.weighted_f1,
            "macro_auc": auc.mean(axis=1),
            "log_loss": totals.log_loss / images,
            "brier": totals.squared_errors.sum(axis=1) / images,
            "ece": abs(totals.top_gaps).sum(axis=1) / images,
            "mcc": matrix.mcc,
            "kappa": matrix.kappa,
        }
        per_class = {
            "f1": matrix.f1,
            "auc": auc,
            "precision": matrix.precision,
            "recall": matrix.recall,
            "specificity": matrix.specificity,
            "average_precision": np.stack([part.average_precision for part in ranked], axis=1),
            "brier": totals.squared_errors / images[:, np.newaxis],
            "ece": abs(totals.class_gaps).sum(axis=2) / images[:, np.newaxis],
            "support": totals.confusion.sum(axis=2),
        }
        return Scores(overall=overall, per_class=per_class)


def score_table(labels: IntArray, probabilities: FloatArray, groups: IntArray, n_groups: int) -> ScoreTable:
    """Gather what scores the predictions of one model.

    Parameters
    ----------
    labels : (n,) array of int64
        Column numbers of the true classes.
    probabilities : (n, c) array of float64
        Predicted probabilities, every row summing to 1.
    groups : (n,) array of int64
        Group numbers from 0 to ``n_groups - 1``.
    n_groups : int
        Number of groups.
    """
    return ScoreTable(
        sums=sum_groups(labels, probabilities, groups, n_groups),
        rankings=tuple(
            rank(probabilities[:, label], labels == label, groups, n_groups) for label in range(probabilities.shape[1])
        ),
    )


def score_images(labels: IntArray, probabilities: FloatArray) -> Scores:
    """Score every image once.

    Parameters
    ----------
    labels : (n,) array of int64
        Column numbers of the true classes, n at least 1.
    probabilities : (n, c) array of float64
        Predicted probabilities, every row summing to 1.

    Returns
    -------
    Scores
        With r = 1.
    """
    assert len(labels) > 0
    together = np.zeros(len(labels), dtype=np.int64)
    return score_table(labels, probabilities, together, 1).score(np.ones((1, 1), dtype=np.int32))
