"""Paired differences between models, from the same lesion resamples for both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from cv_folds.arrays import FloatArray
from ensemble.predictions import ModelKind
from reports.intervals import LEVEL, SAME_WITHIN, percentile_interval
from reports.metrics import LOWER_IS_BETTER, Scores
from reports.multiplicity import holm
from reports.results import Comparison, Estimate
from reports.wording import metric_in_sentence, p_words, signed

COMPARED_METRICS = ("macro_f1", "balanced_accuracy", "macro_auc", "log_loss")


def compare(
    pairs: Sequence[tuple[str, str]],
    scores: Mapping[str, Mapping[str, Estimate]],
    resampled: Mapping[str, Scores],
) -> tuple[Comparison, ...]:
    """Compare models in pairs.

    Parameters
    ----------
    pairs : sequence of (str, str)
        The model whose value counts positive, and the one that is subtracted.
    scores : mapping
        Model name to overall metric to estimate.
    resampled : mapping of str to Scores
        Model name to its metrics in the resamples, the same resamples for all.

    Returns
    -------
    tuple of Comparison
        Every pair on each of `COMPARED_METRICS`. Intervals are not adjusted for the number of comparisons; the
        p-values of one metric are, for the number of pairs.
    """
    by_metric = {
        metric: _adjusted([_difference(metric, model, against, scores, resampled) for model, against in pairs])
        for metric in COMPARED_METRICS
    }
    return tuple(by_metric[metric][place] for place in range(len(pairs)) for metric in COMPARED_METRICS)


def compared_pairs(
    scores: Mapping[str, Mapping[str, Estimate]], kinds: Mapping[str, ModelKind]
) -> tuple[tuple[str, str], ...]:
    """Return which models of one run are compared: the ensembles with what they have to beat.

    Parameters
    ----------
    scores : mapping
        Model name to overall metric to estimate.
    kinds : mapping
        Model name to its kind.

    Returns
    -------
    tuple of (str, str)
        ``stack`` and every other model, ``soft_vote`` and the best backbone. Without either, the best model and each
        of the rest. The best is chosen on the images it is then compared on, which flatters it.
    """
    backbones = [model for model in scores if kinds[model] == "backbone"]
    pairs = [("stack", model) for model in scores if model != "stack"] if "stack" in scores else []
    if "soft_vote" in scores and backbones:
        pairs.append(("soft_vote", best_model({model: scores[model] for model in backbones})))
    if not pairs and "stack" not in scores:
        best = best_model(scores)
        pairs = [(best, model) for model in scores if model != best]
    return tuple(pairs)


def best_model(scores: Mapping[str, Mapping[str, Estimate]]) -> str:
    """Return the model with the highest macro AUC, or balanced accuracy when a class is absent; the first of equals.

    Parameters
    ----------
    scores : mapping
        Model name to overall metric to estimate, at least one model.
    """

    def quality(model: str) -> float:
        for metric in ("macro_auc", "balanced_accuracy"):
            if (value := scores[model][metric].value) is not None:
                return value
        raise AssertionError("balanced accuracy is defined wherever there is an image")

    return max(scores, key=quality)


def _difference(
    metric: str,
    model: str,
    against: str,
    scores: Mapping[str, Mapping[str, Estimate]],
    resampled: Mapping[str, Scores],
) -> Comparison:
    first, second = scores[model][metric], scores[against][metric]
    if first.value is None or second.value is None:
        estimate = Estimate(value=None, reason=first.reason or second.reason)
        return Comparison(metric=metric, model=model, against=against, difference=estimate, evidence="undefined")
    differences = resampled[model].overall[metric] - resampled[against].overall[metric]
    interval = percentile_interval(differences)
    estimate = Estimate(value=first.value - second.value, low=interval.low, high=interval.high, reason=interval.reason)
    # Without an interval there is nothing to judge by, unless the models are alike in every resample.
    tested = interval.low is not None or _alike(estimate.value, differences)
    return Comparison(
        metric=metric,
        model=model,
        against=against,
        difference=estimate,
        evidence="undefined",
        p=resampled_p(differences) if tested else None,
    )


def _alike(value: float | None, differences: FloatArray) -> bool:
    """Tell whether a difference is zero on all images and in every resample."""
    every = np.append(differences, np.nan if value is None else value)
    return len(differences) > 0 and bool((abs(every) <= SAME_WITHIN).all())


def _adjusted(found: Sequence[Comparison]) -> list[Comparison]:
    """Adjust the p-values of one metric, and say what they show."""
    adjusted = [
        comparison if p is None else replace(comparison, p_adjusted=p, evidence=evidence_of(p))
        for comparison, p in zip(found, holm([comparison.p for comparison in found]), strict=True)
    ]
    return [replace(comparison, sentence=evidence_text(comparison)) for comparison in adjusted]


def evidence_of(p_adjusted: float) -> Literal["difference", "no evidence of a difference"]:
    """Return what an adjusted p-value shows."""
    return "difference" if p_adjusted < 1 - LEVEL else "no evidence of a difference"


def resampled_p(differences: FloatArray) -> float:
    """Return the two-sided p-value of a difference from its resamples.

    Parameters
    ----------
    differences : (r,) array of float64
        The difference in every resample, NaN where undefined.

    Returns
    -------
    float
        Twice the share of resamples on the rarer side of zero, zero itself counting on both, with one more added to
        them and to all (Davison and Hinkley, Bootstrap Methods and their Application (1997), chapter 4): about the
        level at which the percentile interval ends at zero. With 2,000 resamples it is never below 0.001.
    """
    defined = differences[~np.isnan(differences)]
    defined = np.where(abs(defined) <= SAME_WITHIN, 0.0, defined)
    rarer = min((defined <= 0).sum(), (defined >= 0).sum())
    return float(min(1.0, 2 * (rarer + 1) / (len(defined) + 1)))


def evidence_text(comparison: Comparison) -> str:
    """Say in one sentence what a comparison shows.

    Parameters
    ----------
    comparison : Comparison
        From `compare`.
    """
    difference = comparison.difference
    metric = metric_in_sentence(comparison.metric)
    if difference.value is None:
        return f"The {metric} of {comparison.model} and {comparison.against} cannot be compared: {difference.reason}."
    if difference.low is None or difference.high is None:
        if comparison.p is not None and comparison.p_adjusted is not None:
            return (
                f"No evidence of a difference in {metric} between {comparison.model} and {comparison.against} "
                f"({signed(difference.value)}; {p_words(comparison.p, comparison.p_adjusted)})."
            )
        return (
            f"The {metric} of {comparison.model} differs by {signed(difference.value)} from that of "
            f"{comparison.against}; there is no interval: {difference.reason}."
        )
    span = f"{signed(difference.value)}, 95 % interval {signed(difference.low)} to {signed(difference.high)}"
    if comparison.p is not None and comparison.p_adjusted is not None:
        span = f"{span}; {p_words(comparison.p, comparison.p_adjusted)}"
    if comparison.evidence == "no evidence of a difference":
        return f"No evidence of a difference in {metric} between {comparison.model} and {comparison.against} ({span})."
    better = (difference.value > 0) != (comparison.metric in LOWER_IS_BETTER)
    return f"{comparison.model} is {'better' if better else 'worse'} than {comparison.against} in {metric} ({span})."
