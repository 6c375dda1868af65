"""Malignant against benign: the probabilities of the malignant classes added up, for many resamples at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from cv_folds.arrays import BoolArray, FloatArray, IntArray
from reports.confusion_metrics import ratio
from reports.ranking import Descent, Ranking, descend, rank, ranking_metrics

OPERATING_PERCENTS = (90, 95)
MALIGNANT_METRICS = (
    "auc",
    "average_precision",
    "partial_auc",
    "partial_auc_raw",
    "sensitivity",
    "specificity",
    *(f"sensitivity_at_{percent}_specificity" for percent in OPERATING_PERCENTS),
    *(f"specificity_at_{percent}_sensitivity" for percent in OPERATING_PERCENTS),
)
LOWEST_SENSITIVITY = 0.8
"""The partial area lies above it, as in the ISIC 2024 challenge."""

THRESHOLDS = tuple(percent / 100 for percent in range(1, 51))
"""Threshold probabilities of the net benefit. One half already weighs a missed cancer like a needless excision."""


@dataclass(frozen=True, kw_only=True)
class MalignantClasses:
    """Which classes of the data are malignant."""

    malignant: BoolArray
    """(c,) one a class, in column order."""
    names: tuple[str, ...]
    """Of the malignant ones, in column order."""
    undefined: str | None
    """Why the classes do not divide into malignant and benign ones; None when they do."""


def malignant_classes(classes: Sequence[str], malignant: Sequence[str]) -> MalignantClasses:
    """Find the malignant classes of the data.

    Parameters
    ----------
    classes : sequence of str
        Class names in column order.
    malignant : sequence of str
        Names that count as malignant, whether the data have them or not.
    """
    names = tuple(name for name in classes if name in malignant)
    undefined = None
    if not names:
        undefined = f"none of the classes counts as malignant (report.malignant: {', '.join(malignant) or 'no name'})"
    elif len(names) == len(classes):
        undefined = "every class counts as malignant"
    return MalignantClasses(
        malignant=np.array([name in names for name in classes], dtype=np.bool_), names=names, undefined=undefined
    )


@dataclass(frozen=True, kw_only=True)
class MalignantScores:
    """Malignant against benign in r resamples; NaN where undefined."""

    metrics: Mapping[str, FloatArray]
    """Each of `MALIGNANT_METRICS` to (r,) values."""
    net_benefit: FloatArray
    """(r, t) at each of `THRESHOLDS`."""


@dataclass(frozen=True, kw_only=True)
class MalignantTable:
    """What has to be known of a model's predictions to score any resample of the groups."""

    malignant: BoolArray
    """(c,) which classes are malignant."""
    ranking: Ranking
    """Of the summed probabilities."""
    above: Any
    """(2 * (t + 1), n_groups) sparse: malignant, then benign images by the number of thresholds that they reach."""

    def score(self, confusion: FloatArray, counts: NDArray[np.int32]) -> MalignantScores:
        """Compute all metrics of every resample.

        Parameters
        ----------
        confusion : (r, c, c) array of float64
            Labels in rows, predictions in columns.
        counts : (n_groups, r) array of int32, C order
            How often each group is in each resample.

        Returns
        -------
        MalignantScores
            ``sensitivity`` and ``specificity`` are those of the most probable class, malignant or not. The others are
            of the summed probability: a threshold calls malignant what reaches it. ``sensitivity_at_90_specificity``
            is the highest sensitivity of a threshold whose specificity is at least 0.9, without interpolation, and
            likewise the others. ``partial_auc_raw``: see `partial_area`; ``partial_auc`` is the same standardised to
            1 for perfect and 0.5 for useless scores (McClish, Med. Decis. Making 9 (1989) 190-195).
        """
        descent = descend(self.ranking, counts)
        ranked = ranking_metrics(self.ranking, descent)
        called = confusion[:, :, self.malignant].sum(axis=2)
        true, false = called[:, self.malignant].sum(axis=1), called[:, ~self.malignant].sum(axis=1)
        raw = partial_area(self.ranking, descent)
        # The raw area of useless scores, and of perfect ones.
        useless, perfect = (1 - LOWEST_SENSITIVITY) ** 2 / 2, 1 - LOWEST_SENSITIVITY
        metrics = {
            "auc": ranked.auc,
            "average_precision": ranked.average_precision,
            "partial_auc": (1 + (raw - useless) / (perfect - useless)) / 2,
            "partial_auc_raw": raw,
            "sensitivity": ratio(true, descent.n_class),
            "specificity": ratio(descent.n_rest - false, descent.n_rest),
        }
        for percent in OPERATING_PERCENTS:
            metrics[f"sensitivity_at_{percent}_specificity"] = _sensitivity_at(percent, descent)
            metrics[f"specificity_at_{percent}_sensitivity"] = _specificity_at(percent, descent)
        return MalignantScores(
            metrics={metric: metrics[metric] for metric in MALIGNANT_METRICS},
            net_benefit=self._net_benefit(counts),
        )

    def _net_benefit(self, counts: NDArray[np.int32]) -> FloatArray:
        malignant, benign = np.split((self.above @ counts).astype(np.float64), 2)
        images = malignant.sum(axis=0) + benign.sum(axis=0)
        true = malignant[::-1].cumsum(axis=0)[::-1][1:]
        false = benign[::-1].cumsum(axis=0)[::-1][1:]
        benefit: FloatArray = ((true - false * _odds()[:, np.newaxis]) / images).T
        benefit[malignant.sum(axis=0) == 0] = np.nan
        return benefit


def malignant_table(
    labels: IntArray, probabilities: FloatArray, malignant: BoolArray, groups: IntArray, n_groups: int
) -> MalignantTable:
    """Gather what scores the predictions of one model.

    Parameters
    ----------
    labels : (n,) array of int64
        Column numbers of the true classes.
    probabilities : (n, c) array of float64
        Predicted probabilities.
    malignant : (c,) array of bool
        Which classes are malignant.
    groups : (n,) array of int64
        Group numbers from 0 to ``n_groups - 1``.
    n_groups : int
        Number of groups.
    """
    score = probabilities[:, malignant].sum(axis=1)
    is_malignant = malignant[labels]
    reached = np.searchsorted(np.array(THRESHOLDS), score, side="right")
    rows = reached + np.where(is_malignant, 0, len(THRESHOLDS) + 1)
    return MalignantTable(
        malignant=malignant,
        ranking=rank(score, is_malignant, groups, n_groups),
        above=csr_array(
            (np.ones(len(rows), dtype=np.int32), (rows, groups)),
            shape=(2 * (len(THRESHOLDS) + 1), n_groups),
            dtype=np.int32,
        ),
    )


def treat_all(share: float) -> FloatArray:
    """Return the net benefit of calling every image malignant; calling none has a net benefit of 0.

    Parameters
    ----------
    share : float
        Of malignant images.

    Returns
    -------
    (t,) array of float64
        At each of `THRESHOLDS` (Vickers and Elkin, Med. Decis. Making 26 (2006) 565-574).
    """
    benefit: FloatArray = share - (1 - share) * _odds()
    return benefit


def _odds() -> FloatArray:
    thresholds = np.array(THRESHOLDS, dtype=np.float64)
    odds: FloatArray = thresholds / (1 - thresholds)
    return odds


def partial_area(ranking: Ranking, descent: Descent) -> FloatArray:
    """Return the area between the ROC curve and the sensitivities from 0.8 up, from 0 to 0.2.

    Parameters
    ----------
    ranking : Ranking
        Of the scores.
    descent : Descent
        Of `ranking` in r resamples.

    Returns
    -------
    (r,) array of float64
        The integral of the specificity over sensitivities from 0.8 to 1, with straight lines between the points of the
        ROC curve: the score of the ISIC 2024 challenge. NaN without malignant or without benign images.
    """
    hits = descent.hits
    climbed = descent.found - hits
    below = np.clip((LOWEST_SENSITIVITY * descent.n_class[:, np.newaxis] - climbed) / np.maximum(hits, 1), 0, 1)
    alarms = descent.false_alarms.copy()
    # A tied run climbs in a slanted line: of its ties, half of what is left of the climb counts as false alarms.
    alarms[:, ranking.tied_runs] -= descent.tied * (1 - below[:, ranking.tied_runs]) / 2
    area = np.einsum("rk,rk->r", hits * (1 - below), descent.n_rest[:, np.newaxis] - alarms)
    return ratio(area, descent.n_class * descent.n_rest)


def _sensitivity_at(percent: int, descent: Descent) -> FloatArray:
    # In whole numbers: no rounding decides whether a specificity is reached.
    allowed = (100 - percent) * descent.n_rest[:, np.newaxis]
    reached = (100 * descent.false_alarms <= allowed).sum(axis=1)
    every = np.arange(len(reached))
    found = np.concatenate([np.zeros((len(reached), 1)), descent.found], axis=1)[every, reached]
    return np.where(descent.n_rest > 0, ratio(found, descent.n_class), np.nan)


def _specificity_at(percent: int, descent: Descent) -> FloatArray:
    missed = (100 * descent.found < percent * descent.n_class[:, np.newaxis]).sum(axis=1)
    every = np.arange(len(missed))
    alarms = np.concatenate([descent.false_alarms, np.zeros((len(missed), 1))], axis=1)[every, missed]
    return np.where(descent.n_class > 0, ratio(descent.n_rest - alarms, descent.n_rest), np.nan)
