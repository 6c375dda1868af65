"""Families of tests: which pairs of models, by which test of which metric, with p-values adjusted together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from ensemble.predictions import Predictions
from reports.comparisons import COMPARED_METRICS, evidence_of
from reports.further_metrics import FullScores
from reports.intervals import percentile_interval
from reports.levels import Unit
from reports.malignant import MalignantClasses
from reports.metrics import LOWER_IS_BETTER
from reports.multiplicity import holm
from reports.paired_tests import ONE_FOLD, PairedOutcome, corrected_t_test, delong_test, mcnemar_test, not_tested
from reports.results import Estimate, ModelScores
from reports.wording import metric_in_sentence, p_words, signed

Method: TypeAlias = Literal["delong", "mcnemar", "corrected_t", "delong_independent"]
Pair: TypeAlias = tuple[str, str]

METHODS: dict[Method, str] = {
    "delong": "DeLong’s test",
    "mcnemar": "McNemar’s exact test",
    "corrected_t": "corrected t-test over folds",
    "delong_independent": "DeLong’s test of independent samples",
}


@dataclass(frozen=True, kw_only=True)
class PairTest:
    """One test of two models."""

    model: str
    """The model whose value counts positive."""
    against: str
    """The model that is subtracted."""
    outcome: PairedOutcome
    """Difference, statistic and p-value."""
    p_adjusted: float | None
    """Adjusted for the number of pairs in the family (Holm); None when the test cannot be made."""
    evidence: Literal["difference", "no evidence of a difference", "undefined"]
    """Whether `p_adjusted` is below 0.05."""
    sentence: str
    """What it shows, in words."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """One test of one metric for several pairs of models."""

    method: Method
    """The test."""
    metric: str
    """What is compared."""
    unit: Literal["image", "lesion", "fold"]
    """What a row of the test is."""
    pairs: tuple[PairTest, ...]
    """One a pair of models."""

    @property
    def without_folds(self) -> bool:
        """Whether this is a test over folds where there are none."""
        return all(pair.outcome.reason == ONE_FOLD for pair in self.pairs)

    def to_json(self) -> dict[str, Any]:
        """Return the form used in ``metrics.json``."""
        return {
            "test": self.method,
            "metric": self.metric,
            "unit": self.unit,
            "adjustment": "holm",
            "pairs": [
                {
                    "model": pair.model,
                    "against": pair.against,
                    "difference": pair.outcome.difference.to_json(),
                    "statistic": pair.outcome.statistic,
                    "p": pair.outcome.p,
                    "p_adjusted": pair.p_adjusted,
                    "evidence": pair.evidence,
                    "sentence": pair.sentence,
                }
                | ({} if pair.outcome.reason is None else {"reason": pair.outcome.reason})
                for pair in self.pairs
            ],
        }


def run_tests(
    pairs: Sequence[Pair],
    tables: Mapping[Unit, Predictions],
    no_lesions: str | None,
    resampled: Mapping[str, FullScores],
    models: Mapping[str, ModelScores],
    classes: MalignantClasses,
) -> tuple[Family, ...]:
    """Test every pair of models in several ways.

    Parameters
    ----------
    pairs : sequence of (str, str)
        Which models to compare.
    tables : mapping of {"image", "lesion"} to Predictions
        Per image, and per lesion when there are lesions.
    no_lesions : str or None
        Why there are none.
    resampled : mapping of str to FullScores
        Model name to all metrics of the lesions in every resample.
    models : mapping of str to ModelScores
        Model name to scores; those of the folds are read.
    classes : MalignantClasses
        Which classes are malignant.

    Returns
    -------
    tuple of Family
        DeLong's test of malignant against benign, per image with groups of lesions as clusters, and per lesion;
        McNemar's test of the accuracy per lesion; the corrected t-test over folds of each of
        `reports.comparisons.COMPARED_METRICS`. The p-values of a family are adjusted for its pairs, not for the other
        families. Empty without a pair.
    """
    if not pairs:
        return ()
    images = tables["image"]

    def on_lesions(test: Callable[[Predictions, Pair], PairedOutcome]) -> Callable[[Pair], PairedOutcome]:
        if "lesion" not in tables:
            return lambda _: not_tested(no_lesions or "there are no lesions")
        return lambda pair: test(tables["lesion"], pair)

    def delong(table: Predictions, pair: Pair) -> PairedOutcome:
        return _delong(table, pair, classes)

    def mcnemar(table: Predictions, pair: Pair) -> PairedOutcome:
        return _mcnemar(table, pair, resampled)

    return (
        family_of("delong", "malignant_auc", "image", pairs, lambda pair: delong(images, pair)),
        family_of("delong", "malignant_auc", "lesion", pairs, on_lesions(delong)),
        family_of("mcnemar", "accuracy", "lesion", pairs, on_lesions(mcnemar)),
        *(
            family_of("corrected_t", metric, "fold", pairs, _over_folds(metric, images, models))
            for metric in COMPARED_METRICS
        ),
    )


def family_of(
    method: Method,
    metric: str,
    unit: Literal["image", "lesion", "fold"],
    pairs: Sequence[Pair],
    test: Callable[[Pair], PairedOutcome],
) -> Family:
    """Make one test of one metric for every pair, and adjust the p-values for their number.

    Parameters
    ----------
    method, metric, unit
        As in `Family`.
    pairs : sequence of (str, str)
        Which models to compare.
    test : callable
        Compares a pair.
    """
    outcomes = [test(pair) for pair in pairs]
    adjusted = holm([outcome.p for outcome in outcomes])
    found = []
    for (model, against), outcome, p in zip(pairs, outcomes, adjusted, strict=True):
        what = f"{metric_in_sentence(metric)} per {unit}"
        found.append(
            PairTest(
                model=model,
                against=against,
                outcome=outcome,
                p_adjusted=p,
                evidence="undefined" if p is None else evidence_of(p),
                sentence=_sentence(METHODS[method], metric, what, model, against, outcome, p),
            )
        )
    return Family(method=method, metric=metric, unit=unit, pairs=tuple(found))


def _sentence(
    method: str, metric: str, what: str, model: str, against: str, outcome: PairedOutcome, p_adjusted: float | None
) -> str:
    difference = outcome.difference
    if outcome.p is None or p_adjusted is None or difference.value is None:
        return f"{model} and {against} cannot be compared in {what} by {method}: {outcome.reason}."
    span = signed(difference.value)
    if difference.low is not None and difference.high is not None:
        span = f"{span}, 95 % interval {signed(difference.low)} to {signed(difference.high)}"
    span = f"{span}; {method}: {p_words(outcome.p, p_adjusted)}"
    if evidence_of(p_adjusted) == "no evidence of a difference":
        return f"No evidence of a difference in {what} between {model} and {against} ({span})."
    better = (difference.value > 0) != (metric in LOWER_IS_BETTER)
    return f"{model} is {'better' if better else 'worse'} than {against} in {what} ({span})."


def _delong(table: Predictions, pair: Pair, classes: MalignantClasses) -> PairedOutcome:
    if classes.undefined is not None:
        return not_tested(classes.undefined)
    first, second = (table.probabilities[model][:, classes.malignant].sum(axis=1) for model in pair)
    clusters = np.unique(table.groups, return_inverse=True)[1]
    return delong_test(first, second, classes.malignant[table.labels], clusters)


def _mcnemar(table: Predictions, pair: Pair, resampled: Mapping[str, FullScores]) -> PairedOutcome:
    first, second = (table.probabilities[model].argmax(axis=1) == table.labels for model in pair)
    of_first, of_second = (resampled[model].scores.overall["accuracy"] for model in pair)
    interval = percentile_interval(of_first - of_second)
    difference = Estimate(
        value=float(first.mean() - second.mean()), low=interval.low, high=interval.high, reason=interval.reason
    )
    return mcnemar_test(first, second, difference)


def _over_folds(metric: str, images: Predictions, models: Mapping[str, ModelScores]) -> Callable[[Pair], PairedOutcome]:
    n_folds = len(np.unique(images.folds))

    def test(pair: Pair) -> PairedOutcome:
        first, second = (
            np.array(
                [np.nan if fold[metric] is None else fold[metric] for fold in models[model].folds], dtype=np.float64
            )
            for model in pair
        )
        return corrected_t_test(first - second, 1 / max(n_folds - 1, 1))

    return test
