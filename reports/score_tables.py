"""Tables of scores: leaderboard, classes, folds, differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from reports.document import Cell, Column, Table
from reports.figures.fold_spread import fold_values
from reports.figures.style import file_name
from reports.results import Estimate, Evaluation, ModelScores
from reports.wording import (
    METRICS,
    NOT_AVAILABLE,
    count,
    interval,
    metric_label,
    number,
    signed,
    value_text,
)

DECISION_METRICS = ("macro_f1", "balanced_accuracy", "macro_auc", "accuracy", "weighted_f1", "mcc", "kappa")
PROBABILITY_METRICS = ("log_loss", "brier", "ece")
CLASS_METRICS = ("f1", "auc", "precision", "recall", "specificity", "average_precision", "brier", "ece")


def leaderboards(evaluation: Evaluation) -> tuple[Table, Table]:
    """Return the overall scores of every model: of the decisions and ranking, and of the probabilities."""
    return (
        _overall_table(
            evaluation,
            DECISION_METRICS,
            name="leaderboard",
            caption=f"Decisions and ranking: every model on {evaluation.scored_on}, with 95 % intervals. Bold: "
            "best point estimate of the column.",
        ),
        _overall_table(
            evaluation,
            PROBABILITY_METRICS,
            name="probability-scores",
            caption="Quality of the probabilities: lower is better in every column. Bold: best point estimate.",
        ),
    )


def _overall_table(evaluation: Evaluation, metrics: Sequence[str], *, name: str, caption: str) -> Table:
    models = list(evaluation.models.values())
    best = {metric: best_value([scores.overall[metric] for scores in models], metric) for metric in metrics}
    return Table(
        citable=True,
        name=name,
        caption=caption,
        columns=(Column(label="Model", numeric=False), *metric_columns(metrics)),
        rows=tuple(
            (
                Cell(text=scores.name, detail=scores.kind),
                *(estimate_cell(scores.overall[metric], best=best[metric]) for metric in metrics),
            )
            for scores in models
        ),
    )


def class_table(evaluation: Evaluation, scores: ModelScores) -> Table:
    """Return the scores of every class for one model."""
    return Table(
        citable=True,
        name=file_name("classes", scores.name),
        caption=f"Scores of {scores.name} by class, one class against the rest, with 95 % intervals.",
        columns=(Column(label="Class", numeric=False), *metric_columns(("support", *CLASS_METRICS))),
        rows=tuple(
            (
                Cell(text=name),
                _count_cell(scores.per_class[name]["support"]),
                *(estimate_cell(scores.per_class[name][metric]) for metric in CLASS_METRICS),
            )
            for name in evaluation.classes
        ),
    )


def fold_table(evaluation: Evaluation, metric: str) -> Table:
    """Return mean, standard deviation, smallest and largest value of a metric over the folds, for every model."""
    n_folds = max(len(scores.folds) for scores in evaluation.models.values())
    spread = ("Mean", "SD", "Smallest", "Largest")
    return Table(
        name=file_name("folds", metric),
        caption=f"{metric_label(metric)} in each fold alone. SD: standard deviation with n − 1.",
        columns=(
            Column(label="Model", numeric=False),
            *(Column(label=words) for words in spread),
            *(Column(label=f"Fold {fold}") for fold in range(n_folds)),
        ),
        rows=tuple(
            (
                Cell(text=scores.name),
                *_spread_cells(fold_values(scores.folds, metric)),
                *(_fold_cell(fold, metric) for fold in scores.folds),
            )
            for scores in evaluation.models.values()
        ),
    )


def _spread_cells(values: list[float]) -> tuple[Cell, ...]:
    if not values:
        return (missing("undefined in every fold"),) * 4
    mean, smallest, largest = plain(float(np.mean(values))), plain(min(values)), plain(max(values))
    deviation = plain(float(np.std(values, ddof=1))) if len(values) > 1 else missing("only one fold has a value")
    return mean, deviation, smallest, largest


def _fold_cell(fold: Mapping[str, float | None], metric: str) -> Cell:
    value = fold[metric]
    return missing("undefined in this fold") if value is None else plain(value)


def comparison_table(evaluation: Evaluation) -> Table:
    """Return the paired differences between models."""
    return Table(
        citable=True,
        name="differences-table",
        caption="Paired differences between models on the same images, with 95 % intervals from the same lesion "
        "resamples for both. The intervals are not adjusted for the number of comparisons; what is called better or "
        "worse has an adjusted p-value below 0.05 (see the table of all tests).",
        columns=(
            Column(label="Metric", numeric=False),
            Column(label="Model", numeric=False),
            Column(label="Against", numeric=False),
            Column(label="Difference", explain="Model minus the other."),
            Column(label="What it shows", numeric=False),
        ),
        rows=tuple(
            (
                Cell(text=metric_label(comparison.metric)),
                Cell(text=comparison.model),
                Cell(text=comparison.against),
                estimate_cell(comparison.difference, sign=True),
                Cell(text=finding(comparison.difference, comparison.metric, comparison.evidence)),
            )
            for comparison in evaluation.comparisons
        ),
    )


def finding(difference: Estimate, metric: str, evidence: str) -> str:
    """Say in a word or two what a difference shows: better, worse, or what `evidence` says."""
    if evidence != "difference" or difference.value is None:
        return evidence
    gain = difference.value > 0
    return "better" if gain == (METRICS[metric].better == "higher") else "worse"


def metric_columns(metrics: Sequence[str]) -> tuple[Column, ...]:
    """Return a heading a metric."""
    return tuple(Column(label=METRICS[metric].label, explain=METRICS[metric].explain) for metric in metrics)


def estimate_cell(estimate: Estimate, *, best: float | None = None, sign: bool = False) -> Cell:
    """Show a value over its interval; an undefined one says why in a footnote."""
    if estimate.value is None:
        return missing(estimate.reason)
    undefined = estimate.low is None or estimate.high is None
    return Cell(
        text=signed(estimate.value) if sign else value_text(estimate),
        detail=interval(estimate),
        behind=interval_ends(estimate),
        value=estimate.value,
        note=f"no interval: {estimate.reason}" if undefined else None,
        best=best is not None and estimate.value == best,
    )


def interval_ends(estimate: Estimate) -> tuple[tuple[str, float], ...]:
    """Return the ends of an interval with their words; none when it is undefined."""
    if estimate.low is None or estimate.high is None:
        return ()
    return ("low", estimate.low), ("high", estimate.high)


def _count_cell(estimate: Estimate) -> Cell:
    if estimate.value is None:
        return missing(estimate.reason)
    return Cell(text=count(estimate.value), value=estimate.value)


def plain(value: float, digits: int = 3) -> Cell:
    """Show a bare number."""
    return Cell(text=number(value, digits), value=value)


def whole(value: int) -> Cell:
    """Show a count."""
    return Cell(text=count(value), value=float(value))


def missing(reason: str | None) -> Cell:
    """Show that there is no number, and why."""
    return Cell(text=NOT_AVAILABLE, note=reason or "not recorded")


def best_value(estimates: Sequence[Estimate], metric: str) -> float | None:
    """Return the best point estimate; None when all are undefined."""
    values = [estimate.value for estimate in estimates if estimate.value is not None]
    if not values:
        return None
    return min(values) if METRICS[metric].better == "lower" else max(values)
