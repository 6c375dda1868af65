"""The table of all tests of differences between models."""

from __future__ import annotations

from collections.abc import Iterator

from reports.document import Cell, Column, Table
from reports.families import METHODS, Family
from reports.results import Comparison, Evaluation
from reports.score_tables import estimate_cell, finding, missing
from reports.wording import metric_label, number, p_text


def table_of_tests(evaluation: Evaluation) -> Table:
    """Return every test of a difference between two models that can be made, the bootstrap among them."""
    families = [family for family in evaluation.tests if not family.without_folds]
    over_folds = " t for that over folds," if any(family.unit == "fold" for family in families) else ""
    return Table(
        name="tests",
        caption="Tests of differences between models, two-sided and paired. Adjusted: by Holm’s method, for the pairs "
        f"of one test and metric; intervals are not. The statistic is z for DeLong’s test,{over_folds} and for "
        "McNemar’s the number of lesions that only the first model has right.",
        columns=(
            Column(label="Test", numeric=False),
            Column(label="Metric", numeric=False),
            Column(label="Per", numeric=False),
            Column(label="Model", numeric=False),
            Column(label="Against", numeric=False),
            Column(label="Difference", explain="Model minus the other."),
            Column(label="Statistic"),
            Column(label="p"),
            Column(label="Adjusted p"),
            Column(label="What it shows", numeric=False),
        ),
        rows=(
            *(_bootstrap_row(comparison) for comparison in evaluation.comparisons),
            *(row for family in families for row in _family_rows(family)),
        ),
    )


def _bootstrap_row(comparison: Comparison) -> tuple[Cell, ...]:
    return (
        Cell(text="paired bootstrap"),
        Cell(text=metric_label(comparison.metric)),
        Cell(text="image"),
        Cell(text=comparison.model),
        Cell(text=comparison.against),
        estimate_cell(comparison.difference, sign=True),
        Cell(text=""),
        _p_cell(comparison.p, comparison.difference.reason),
        _p_cell(comparison.p_adjusted, comparison.difference.reason),
        Cell(text=finding(comparison.difference, comparison.metric, comparison.evidence)),
    )


def _family_rows(family: Family) -> Iterator[tuple[Cell, ...]]:
    for pair in family.pairs:
        outcome = pair.outcome
        yield (
            Cell(text=METHODS[family.method]),
            Cell(text=metric_label(family.metric)),
            Cell(text=family.unit),
            Cell(text=pair.model),
            Cell(text=pair.against),
            estimate_cell(outcome.difference, sign=True),
            missing(outcome.reason)
            if outcome.statistic is None
            else Cell(text=number(outcome.statistic, 2), value=outcome.statistic),
            _p_cell(outcome.p, outcome.reason),
            _p_cell(pair.p_adjusted, outcome.reason),
            Cell(text=finding(outcome.difference, family.metric, pair.evidence)),
        )


def _p_cell(p: float | None, reason: str | None) -> Cell:
    return missing(reason) if p is None else Cell(text=p_text(p), value=p)
