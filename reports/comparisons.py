"""Paired differences between models, from the same lesion resamples for both."""

from __future__ import annotations

from collections.abc import Mapping

from ensemble.predictions import ModelKind
from reports.intervals import percentile_interval
from reports.metrics import LOWER_IS_BETTER, Scores
from reports.results import Comparison, Estimate
from reports.wording import metric_in_sentence, signed

COMPARED_METRICS = ("macro_f1", "balanced_accuracy", "macro_auc", "log_loss")


def compare(
    scores: Mapping[str, Mapping[str, Estimate]], resampled: Mapping[str, Scores], kinds: Mapping[str, ModelKind]
) -> tuple[Comparison, ...]:
    """Compare the ensembles with what they have to beat.

    Parameters
    ----------
    scores : mapping
        Model name to overall metric to estimate.
    resampled : mapping of str to Scores
        Model name to its metrics in the resamples, the same resamples for all.
    kinds : mapping
        Model name to its kind.

    Returns
    -------
    tuple of Comparison
        ``stack`` against every other model and ``soft_vote`` against the best backbone, on each of
        `COMPARED_METRICS`. Without either, the best model against the rest. The best is chosen on the images it is
        then compared on, which flatters it. Intervals are not adjusted for the number of comparisons.
    """
    return tuple(
        _difference(metric, model, against, scores, resampled)
        for model, against in _pairs(scores, kinds)
        for metric in COMPARED_METRICS
    )


def _pairs(scores: Mapping[str, Mapping[str, Estimate]], kinds: Mapping[str, ModelKind]) -> tuple[tuple[str, str], ...]:
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
    interval = percentile_interval(resampled[model].overall[metric] - resampled[against].overall[metric])
    estimate = Estimate(value=first.value - second.value, low=interval.low, high=interval.high, reason=interval.reason)
    if interval.low is None or interval.high is None:
        return Comparison(metric=metric, model=model, against=against, difference=estimate, evidence="undefined")
    apart = interval.low > 0 or interval.high < 0
    return Comparison(
        metric=metric,
        model=model,
        against=against,
        difference=estimate,
        evidence="difference" if apart else "no evidence of a difference",
    )


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
        return (
            f"The {metric} of {comparison.model} differs by {signed(difference.value)} from that of "
            f"{comparison.against}; there is no interval: {difference.reason}."
        )
    span = f"{signed(difference.value)}, 95 % interval {signed(difference.low)} to {signed(difference.high)}"
    if comparison.evidence == "no evidence of a difference":
        return f"No evidence of a difference in {metric} between {comparison.model} and {comparison.against} ({span})."
    better = (difference.value > 0) != (comparison.metric in LOWER_IS_BETTER)
    return f"{comparison.model} is {'better' if better else 'worse'} than {comparison.against} in {metric} ({span})."
