"""Intervals from a bootstrap over lesion groups.

Images of one lesion are alike, so groups are drawn, with replacement, and all images of a group come along (Field and
Welsh, J. R. Stat. Soc. B 69 (2007) 369-390). All models see the same resamples: differences between models are
paired. Training is not repeated, so the intervals hold for the models as trained, on new lesions of the same kind.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv_folds.arrays import FloatArray
from ensemble.predictions import Predictions
from reports.metrics import CLASS_METRICS, OVERALL_METRICS, Scores, score_table

LEVEL = 0.95
DEFINED_AT_LEAST = 0.9
# Below this, values differ by the rounding of their sums only.
SAME_WITHIN = 1e-12
# Resamples worked on at a time, times images: the arrays of about 25 resamples of HAM10000 stay in a processor's cache.
CELLS_AT_A_TIME = 250_000


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A 95 % interval, or the reason why there is none."""

    low: float | None
    """Lower end; None when there is no interval."""
    high: float | None
    """Upper end; None when there is no interval."""
    reason: str | None = None
    """Why there is no interval; None when there is one."""


def percentile_interval(values: FloatArray, *, comparisons: int = 1) -> Interval:
    """Take the 2.5th and 97.5th percentile of a metric over the resamples that define it.

    Parameters
    ----------
    values : (r,) array of float64
        The metric in every resample, NaN where undefined; empty when there was nothing to resample.
    comparisons : int
        Among how many differences this one was picked by its value: the interval is widened so that all of them
        together would hold in 95 % of cases (Bonferroni's inequality; Dunn, J. Am. Stat. Assoc. 56 (1961) 52-64).

    Returns
    -------
    Interval
        Efron, Can. J. Stat. 9 (1981) 139-158; percentiles are interpolated linearly. Without ends when fewer than
        90 % of the resamples define the metric: what is left would no longer stand for the lesions. Without ends
        also when all resamples give the same value, as for a recall of 0 or a specificity of 1: they cannot
        show how far off the value may be, and an interval without width would call it exact.
    """
    if not len(values):
        return Interval(low=None, high=None, reason="an interval needs at least two lesions")
    defined = values[~np.isnan(values)]
    share = len(defined) / len(values)
    if share < DEFINED_AT_LEAST:
        reason = f"defined in only {share:.1%} of the resamples of lesions; an interval needs {DEFINED_AT_LEAST:.0%}"
        return Interval(low=None, high=None, reason=reason)
    if np.ptp(defined) <= SAME_WITHIN:
        return Interval(low=None, high=None, reason="every resample gives the same value")
    tail = (1 - LEVEL) / 2 / comparisons
    if comparisons > 1 and tail * len(defined) < 1:
        # The ends would lie within the resamples, nearer than they should.
        reason = f"an interval for a choice among {comparisons} comparisons needs {math.ceil(1 / tail):,} resamples"
        return Interval(low=None, high=None, reason=reason)
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(low=float(low), high=float(high))


def centred_interval(values: FloatArray, estimate: float) -> Interval:
    """Shift the resampled values by their own bias, then take the percentiles; for the expected calibration error.

    Parameters
    ----------
    values : (r,) array of float64
        The metric in every resample, at least 0, NaN where undefined.
    estimate : float
        The metric on all images.

    Returns
    -------
    Interval
        As `percentile_interval`, of the values less the difference between their mean and `estimate`, cut off at 0.

    Notes
    -----
    A calibration error adds up absolute gaps, which the noise of a resample can only widen: for a well-calibrated
    model the plain percentiles lie above the estimate. The bias is that of Efron and Tibshirani, An Introduction to
    the Bootstrap (1993), chapter 10. What remains is the bias of the estimate itself: with few images, the error
    of a perfectly calibrated model is above 0, and so may be the interval.
    """
    if np.isnan(values).all():
        return percentile_interval(values)
    return percentile_interval(np.maximum(values - (np.nanmean(values) - estimate), 0))


def resample_groups(
    n_groups: int, n_images: int, *, resamples: int, generator: np.random.Generator
) -> Iterator[NDArray[np.int32]]:
    """Draw groups with replacement, as many as there are, a block of resamples at a time.

    Parameters
    ----------
    n_groups : int
        Number of groups.
    n_images : int
        Number of images; only decides how large a block is, never what is drawn.
    resamples : int
        Number of resamples in all blocks together.
    generator : numpy.random.Generator
        Source of the draws.

    Yields
    ------
    (r, n_groups) array of int32
        How often each group is in each resample of the block.
    """
    most = max(1, CELLS_AT_A_TIME // n_images)
    for start in range(0, resamples, most):
        block = np.empty((min(most, resamples - start), n_groups), dtype=np.int32)
        for counts in block:
            counts[:] = np.bincount(generator.integers(n_groups, size=n_groups), minlength=n_groups)
        yield block


def bootstrap(predictions: Predictions, *, resamples: int, generator: np.random.Generator) -> Mapping[str, Scores]:
    """Score every model on the same resamples of the groups.

    Parameters
    ----------
    predictions : Predictions
        Out-of-fold probabilities; ``groups`` are what is drawn.
    resamples : int
        Number of resamples.
    generator : numpy.random.Generator
        Source of the draws.

    Returns
    -------
    mapping of str to Scores
        Model name to its metrics in every resample, in the same order of resamples for all models; no resample when
        there is only one group. Independent of the order of the rows. Beside the result, memory stays within about
        2 kB an image and model.
    """
    names, groups = np.unique(predictions.groups, return_inverse=True)
    if len(names) < 2:
        return {model: _joined([], len(predictions.classes)) for model in predictions.probabilities}
    tables = {
        model: score_table(predictions.labels, probabilities, groups, len(names))
        for model, probabilities in predictions.probabilities.items()
    }
    parts: dict[str, list[Scores]] = {model: [] for model in tables}
    for block in resample_groups(len(names), len(groups), resamples=resamples, generator=generator):
        for model, table in tables.items():
            parts[model].append(table.score(block))
    return {model: _joined(blocks, len(predictions.classes)) for model, blocks in parts.items()}


def _joined(blocks: list[Scores], n_classes: int) -> Scores:
    return Scores(
        overall={
            metric: np.concatenate([np.empty(0), *(block.overall[metric] for block in blocks)])
            for metric in OVERALL_METRICS
        },
        per_class={
            metric: np.concatenate([np.empty((0, n_classes)), *(block.per_class[metric] for block in blocks)])
            for metric in CLASS_METRICS
        },
    )
