"""Which ensemble has the smallest log-loss, and whether it differs from soft voting by more than noise."""

from __future__ import annotations

from collections.abc import Mapping

from cv_folds.arrays import FloatArray
from ensemble.predictions import ModelKind
from reports.effects import BestCombiner, RankedBy, in_words
from reports.intervals import percentile_interval
from reports.results import Estimate
from reports.wording import signed

_YARDSTICK = "soft_vote"
_DIGITS = 4


def best_combiner(
    losses: Mapping[str, float],
    resampled: Mapping[str, FloatArray],
    kinds: Mapping[str, ModelKind],
    *,
    by: RankedBy,
) -> BestCombiner | None:
    """Name the best ensemble by log-loss and compare it with soft voting.

    Parameters
    ----------
    losses : mapping of str to float
        Model name to log-loss in nats.
    resampled : mapping of str to (r,) float64
        Model name to its log-loss in the resamples of lesions, the same for all.
    kinds : mapping
        Model name to its kind.
    by : str
        What the log-loss is of.

    Returns
    -------
    BestCombiner or None
        None without ensembles. The ensemble is chosen on the images of the comparison: the interval allows for that.
    """
    ranked = sorted((model for model in losses if kinds[model] == "ensemble"), key=lambda model: losses[model])
    if not ranked:
        return None
    best, *others = ranked
    loss = in_words(by)
    if not others:
        sentence = f"{best} is the only ensemble; its {loss} is {losses[best]:.{_DIGITS}f}."
        return BestCombiner(
            model=best, against=None, difference=None, comparisons=0, evidence="undefined", sentence=sentence, by=by
        )
    against = _YARDSTICK if _YARDSTICK in others else others[0]
    value = losses[best] - losses[against]
    # Each of the others with soft voting; without it, any pair could have been the one.
    comparisons = len(others) if _YARDSTICK in ranked else len(ranked) * len(others) // 2
    interval = percentile_interval(resampled[best] - resampled[against], comparisons=comparisons)
    difference = Estimate(value=value, low=interval.low, high=interval.high, reason=interval.reason)
    other = against if against == _YARDSTICK else f"{against}, the next best"
    if interval.low is None or interval.high is None:
        apart, known = False, value == 0
        verdict = (
            f"{other} has the same" if known else f"whether it differs from {other} is not known: {interval.reason}"
        )
    else:
        apart, known = not interval.low <= 0 <= interval.high, True
        span = ", 95 % interval ".join(
            [signed(value, _DIGITS), f"{signed(interval.low, _DIGITS)} to {signed(interval.high, _DIGITS)}"]
        )
        verdict = f"it is better than {other}" if apart else f"there is no evidence of a difference from {other}"
        verdict += f" ({span}{widened(comparisons)})"
    lowest = f"Of the ensembles, {best} has the lowest {loss} ({losses[best]:.{_DIGITS}f})"
    return BestCombiner(
        model=best,
        against=against,
        difference=difference,
        comparisons=comparisons,
        evidence="difference" if apart else "no evidence of a difference" if known else "undefined",
        sentence=f"{lowest}; {verdict}.",
        by=by,
    )


def widened(comparisons: int) -> str:
    """Say for how many comparisons an interval is widened; nothing for one."""
    return f", widened for a choice among {comparisons} comparisons" if comparisons > 1 else ""
