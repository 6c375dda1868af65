"""The numbers of a comparison of runs as files: one JSON with everything, and two CSV tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from cv_folds.files import write_json, write_text
from reports.results import Estimate
from reports.run_comparison import RunComparison
from reports.table_csv import guarded

COMPARE_FILE = "compare.json"
TESTS_FILE = "tests.csv"
SCORES_FILE = "scores.csv"

_TEST_COLUMNS = (
    "test", "metric", "unit", "run", "against", "difference", "low", "high", "statistic", "p", "p_adjusted",
    "evidence", "reason",
)  # fmt: skip
_SCORE_COLUMNS = ("run", "of", "metric", "value", "low", "high", "reason")

Value = str | float | None


def write_tables(folder: Path, comparison: RunComparison) -> tuple[Path, ...]:
    """Write ``compare.json``, ``tests.csv`` and ``scores.csv``, with every digit.

    Parameters
    ----------
    folder : Path
        Made when missing.
    comparison : RunComparison
        What to write.

    Returns
    -------
    tuple of Path
        The files.
    """
    paths = tuple(folder / name for name in (COMPARE_FILE, TESTS_FILE, SCORES_FILE))
    write_json(paths[0], comparison.to_json())
    write_text(paths[1], _csv(_TEST_COLUMNS, _tests(comparison)))
    write_text(paths[2], _csv(_SCORE_COLUMNS, _scores(comparison)))
    return paths


def _csv(columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_field(value) for value in row] for row in rows)
    return text.getvalue()


def _field(value: Value) -> str | float:
    """Guard words, since a run is called as its folder is; numbers keep their signs."""
    return "" if value is None else guarded(value) if isinstance(value, str) else value


def _tests(comparison: RunComparison) -> Iterator[Sequence[Value]]:
    for found in comparison.comparisons:
        difference = found.difference
        yield (
            "bootstrap",
            found.metric,
            "image",
            found.model,
            found.against,
            *_span(difference),
            None,
            found.p,
            found.p_adjusted,
            found.evidence,
            difference.reason,
        )
    for family in comparison.tests:
        for pair in family.pairs:
            yield (
                family.method,
                family.metric,
                family.unit,
                pair.model,
                pair.against,
                *_span(pair.outcome.difference),
                pair.outcome.statistic,
                pair.outcome.p,
                pair.p_adjusted,
                pair.evidence,
                pair.outcome.reason or pair.outcome.difference.reason,
            )


def _scores(comparison: RunComparison) -> Iterator[Sequence[Value]]:
    for label, scores in comparison.models.items():
        for metric, estimate in scores.overall.items():
            yield (label, "overall", metric, *_span(estimate), estimate.reason)
        for metric, estimate in comparison.levels[label].malignant.items():
            yield (label, "malignant", metric, *_span(estimate), estimate.reason)
        for name, metrics in scores.per_class.items():
            for metric, estimate in metrics.items():
                yield (label, f"class {name}", metric, *_span(estimate), estimate.reason)


def _span(estimate: Estimate) -> tuple[float | None, float | None, float | None]:
    return estimate.value, estimate.low, estimate.high
