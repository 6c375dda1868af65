"""How alike the members of an ensemble are: which answers they share, and which errors."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cv_folds.arrays import FloatArray, IntArray
from ensemble.predictions import Predictions
from reports.confusion_metrics import ratio
from reports.intervals import percentile_interval, resample_groups
from reports.results import Estimate

PAIR_METRICS = ("agreement", "disagreement", "double_fault", "q", "error_correlation")

_PER_PAIR = 5
"""Columns of sums a pair: both right, the first alone, the second alone, neither, same class named."""

_WHY = {
    "q": "of the four combinations of right and wrong, too few occur",
    "error_correlation": "one of the two is always right, or always wrong",
}


@dataclass(frozen=True, kw_only=True)
class MemberPair:
    """Two members, compared image by image."""

    model: str
    """The one."""
    other: str
    """The other."""
    metrics: Mapping[str, Estimate]
    """Each of `PAIR_METRICS`."""


@dataclass(frozen=True, kw_only=True)
class Diversity:
    """All pairs of members, and what all of them together know."""

    members: tuple[str, ...]
    """At least two models."""
    pairs: tuple[MemberPair, ...]
    """Every two of them, in the order of `members`."""
    all_right: Estimate
    """Share of images that every member names rightly."""
    any_right: Estimate
    """Share of images that at least one member names rightly: what a perfect choice among their answers would reach."""

    def pair(self, model: str, other: str) -> MemberPair:
        """Return the pair of two members, in either order."""
        return next(pair for pair in self.pairs if {pair.model, pair.other} == {model, other})

    def to_json(self) -> dict[str, Any]:
        """Return the form used in ``metrics.json``."""
        return {
            "members": list(self.members),
            "all_right": self.all_right.to_json(),
            "any_right": self.any_right.to_json(),
            "pairs": [
                {"model": pair.model, "other": pair.other}
                | {metric: estimate.to_json() for metric, estimate in pair.metrics.items()}
                for pair in self.pairs
            ],
        }


def members_of(predictions: Predictions) -> tuple[str, ...]:
    """Return the models that are compared: the backbones, or without any, models from elsewhere."""
    kinds = predictions.kinds
    wanted = "backbone" if "backbone" in kinds.values() else "model"
    return tuple(model for model, kind in kinds.items() if kind == wanted)


def measure_diversity(predictions: Predictions, *, resamples: int, generator: np.random.Generator) -> Diversity | None:
    """Compare the most probable classes of all members.

    Parameters
    ----------
    predictions : Predictions
        Probabilities of images that the members had not seen.
    resamples : int
        Lesion resamples behind every interval.
    generator : numpy.random.Generator
        Source of the resamples; in the state in which `reports.evaluation.evaluate` had it, they are the same.

    Returns
    -------
    Diversity or None
        None with fewer than two members. ``agreement``: share of images for which both name the same class. The others
        look at right and wrong answers only (Kuncheva and Whitaker, Mach. Learn. 51 (2003) 181-207): ``disagreement``,
        the share that one of the two has right; ``double_fault``, the share that both have wrong; ``q``, Yule's Q
        statistic, 0 for independent errors and 1 when one member's errors are all the other's, too;
        ``error_correlation``, the correlation of their errors.
    """
    members = members_of(predictions)
    if len(members) < 2:
        return None
    names, groups = np.unique(predictions.groups, return_inverse=True)
    answers = [predictions.probabilities[member].argmax(axis=1) for member in members]
    sums = _sum_groups(answers, predictions.labels, groups, len(names))
    point = _scores(sums.sum(axis=0, keepdims=True))
    blocks = resample_groups(len(names), len(groups), resamples=resamples, generator=generator)
    drawn = [_scores(counts.astype(np.float64) @ sums) for counts in blocks] if len(names) > 1 else []

    def estimate(metric: str, place: int) -> Estimate:
        value = float(point[metric][0, place])
        if np.isnan(value):
            return Estimate(value=None, reason=_WHY[metric])
        interval = percentile_interval(np.concatenate([np.empty(0), *(part[metric][:, place] for part in drawn)]))
        return Estimate(value=value, low=interval.low, high=interval.high, reason=interval.reason)

    return Diversity(
        members=members,
        pairs=tuple(
            MemberPair(model=model, other=other, metrics={metric: estimate(metric, place) for metric in PAIR_METRICS})
            for place, (model, other) in enumerate(itertools.combinations(members, 2))
        ),
        all_right=estimate("all_right", 0),
        any_right=estimate("any_right", 0),
    )


def _sum_groups(answers: Sequence[IntArray], labels: IntArray, groups: IntArray, n_groups: int) -> FloatArray:
    """Count images of each group: in all, all right, any right, then `_PER_PAIR` columns a pair."""
    right = [answer == labels for answer in answers]
    columns = [np.ones(len(labels), dtype=np.bool_), np.all(right, axis=0), np.any(right, axis=0)]
    for (first, of_first), (second, of_second) in itertools.combinations(zip(answers, right, strict=True), 2):
        columns += [
            of_first & of_second,
            of_first & ~of_second,
            ~of_first & of_second,
            ~(of_first | of_second),
            first == second,
        ]
    return np.stack(
        [np.bincount(groups, weights=column, minlength=n_groups) for column in columns], axis=1, dtype=np.float64
    )


def _scores(sums: FloatArray) -> dict[str, FloatArray]:
    """Return each of `PAIR_METRICS` as (r, pairs), and the shares of all and any right as (r, 1)."""
    images, every, some = sums[:, :1], sums[:, 1:2], sums[:, 2:3]
    both, first, second, neither, same = (sums[:, 3 + place :: _PER_PAIR] for place in range(_PER_PAIR))
    along, across = both * neither, first * second
    spread = (both + first) * (second + neither) * (both + second) * (first + neither)
    return {
        "agreement": same / images,
        "disagreement": (first + second) / images,
        "double_fault": neither / images,
        "q": ratio(along - across, along + across),
        "error_correlation": ratio(along - across, np.sqrt(spread)),
        "all_right": every / images,
        "any_right": some / images,
    }
