"""Tables of a comparison of runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from reports.document import Cell, Column, Table
from reports.results import Evaluation
from reports.run_comparison import RunComparison
from reports.run_tables import setting_text
from reports.score_tables import best_value, comparison_table, estimate_cell, leaderboards, whole
from reports.tests_table import table_of_tests
from reports.wording import METRICS, metric_label

MALIGNANT = ("auc", "sensitivity", "specificity")


def as_evaluation(comparison: RunComparison) -> Evaluation:
    """Return the scores in the form that the tables and figures of a run read; the models are the runs."""
    first = comparison.runs[0]
    held_out = {run.protocol == "holdout" for run in comparison.runs}
    return Evaluation(
        classes=comparison.classes,
        n_images=len(first.predictions.image_ids),
        n_lesions=len(np.unique(first.predictions.lesion_ids)),
        demo=comparison.demo,
        models=comparison.models,
        comparisons=comparison.comparisons,
        protocol="given" if len(held_out) > 1 else "holdout" if held_out.pop() else "cv",
        tests=comparison.tests,
    )


def runs_table(comparison: RunComparison) -> Table:
    """Return what was compared, one row a run."""
    words = ("Run", "Model", "Data", "Networks", "Recipe", "Seed", "Finished")
    return Table(
        name="runs",
        caption="The compared runs, as they were named. Every difference is of a later one minus an earlier one.",
        columns=(
            *(Column(label=label, numeric=False) for label in words),
            Column(label="Folds"),
            Column(label="Images"),
            Column(label="Lesions"),
        ),
        rows=tuple(
            (
                Cell(text=run.label),
                Cell(text=run.model, detail=run.kind),
                Cell(text=run.record.data.name, detail=run.record.data.fingerprint[:12]),
                Cell(text=setting_text(list(run.settings.get("backbones", ())))),
                Cell(text=run.record.recipe),
                Cell(text=setting_text(run.settings.get("seed", "not recorded"))),
                Cell(text=f"{run.record.finished or run.record.started:%Y-%m-%d %H:%M}"),
                whole(len(np.unique(run.predictions.folds))),
                whole(len(run.predictions.image_ids)),
                whole(len(np.unique(run.predictions.lesion_ids))),
            )
            for run in comparison.runs
        ),
    )


def settings_table(comparison: RunComparison) -> Table:
    """Return the settings that are not the same in all runs."""
    return Table(
        name="other-settings",
        caption="Settings that are not the same in all runs.",
        columns=(
            Column(label="Setting", numeric=False),
            *(Column(label=run.label, numeric=False) for run in comparison.runs),
        ),
        rows=tuple(
            (Cell(text=name), *(Cell(text="not set" if value is None else setting_text(value)) for value in values))
            for name, values in comparison.settings.items()
        ),
    )


def mismatch_table(comparison: RunComparison) -> Table:
    """Return in what data and folds differ from those of the first run."""
    return Table(
        name="other-data",
        caption="In what data and folds differ from those of the first run, with the first images that differ.",
        columns=tuple(Column(label=label, numeric=False) for label in ("Run", "Differs in", "How", "For example")),
        rows=tuple(
            (
                Cell(text=mismatch.other),
                Cell(text=mismatch.aspect),
                Cell(text=mismatch.words),
                Cell(text="; ".join(mismatch.rows)),
            )
            for mismatch in comparison.mismatches
        ),
    )


def class_counts_table(comparison: RunComparison) -> Table:
    """Return the images of each class in every run."""
    counts = {}
    for run in comparison.runs:
        found = np.bincount(run.predictions.labels, minlength=len(comparison.classes)).tolist()
        counts[run.label] = dict(zip(run.predictions.classes, found, strict=True))
    return Table(
        name="class-counts",
        caption="Images of each class in every run.",
        columns=(Column(label="Class", numeric=False), *(Column(label=run.label) for run in comparison.runs)),
        rows=tuple(
            (Cell(text=name), *(whole(counts[run.label][name]) for run in comparison.runs))
            for name in comparison.classes
        ),
    )


def score_tables(comparison: RunComparison) -> tuple[Table, ...]:
    """Return the overall scores of every run, and those of malignant against benign."""
    return (
        *(_of_runs(table) for table in leaderboards(as_evaluation(comparison))),
        Table(
            name="malignant",
            caption="Malignant against benign per image: the area under the ROC curve of the summed probability of the "
            "malignant classes, and how often the most probable class is malignant where it should be, and benign "
            "where it should be.",
            columns=(
                Column(label="Run", numeric=False),
                *(Column(label=METRICS[name].label, explain=METRICS[name].explain) for name in MALIGNANT),
            ),
            rows=tuple(
                (Cell(text=label), *(estimate_cell(scores.malignant[name]) for name in MALIGNANT))
                for label, scores in comparison.levels.items()
            ),
        ),
    )


def class_table(comparison: RunComparison, metric: str) -> Table:
    """Return a metric of each class for every run."""
    scores = comparison.models
    return Table(
        name=f"classes-{metric}",
        caption=f"{metric_label(metric)} of each class, with 95 % intervals. Bold: best point estimate of the class.",
        columns=(Column(label="Class", numeric=False), *(Column(label=label) for label in scores)),
        rows=tuple(
            (
                Cell(text=name),
                *(
                    estimate_cell(
                        found.per_class[name][metric],
                        best=best_value([other.per_class[name][metric] for other in scores.values()], metric),
                    )
                    for found in scores.values()
                ),
            )
            for name in comparison.classes
        ),
    )


def difference_table(comparison: RunComparison) -> Table:
    """Return the differences that the resamples show."""
    drawn = "the same lesion resamples for both" if comparison.paired else "lesion resamples of its own for each run"
    how = "Paired differences between runs on the same images" if comparison.paired else "Differences between runs"
    return _of_runs(
        comparison_table(as_evaluation(comparison)),
        caption=f"{how}, with 95 % intervals from {drawn}. The intervals are not adjusted for the number of pairs; "
        "what is called better or worse has an adjusted p-value below 0.05 (see the table of all tests).",
    )


def tests_table(comparison: RunComparison) -> Table:
    """Return every test of a difference."""
    table = _of_runs(table_of_tests(as_evaluation(comparison)))
    if comparison.paired:
        return table
    rows = tuple(
        (Cell(text="bootstrap") if row[0].text == "paired bootstrap" else row[0], *row[1:]) for row in table.rows
    )
    return replace(
        table,
        rows=rows,
        caption="Tests of differences between runs, two-sided, for samples that are taken for independent. Adjusted: "
        "by Holm’s method, for the pairs of one test and metric; intervals are not. The statistic is z.",
    )


def right_table(comparison: RunComparison) -> Table:
    """Return how many lesions two runs have right, together and alone."""
    return Table(
        name="lesions-right",
        caption="Lesions that two runs have right, by the mean over the images of a lesion. McNemar’s test looks at "
        "those that just one of them has right.",
        columns=(
            Column(label="Run", numeric=False),
            Column(label="Against", numeric=False),
            Column(label="Both right"),
            Column(label="Only the run"),
            Column(label="Only the other"),
            Column(label="Neither"),
        ),
        rows=tuple(
            (
                Cell(text=found.model),
                Cell(text=found.against),
                whole(found.both),
                whole(found.only_model),
                whole(found.only_against),
                whole(found.neither),
            )
            for found in comparison.right
        ),
    )


def _of_runs(table: Table, *, caption: str = "") -> Table:
    """Call the models of a table runs, since here each is one."""
    columns: Sequence[Column] = [
        replace(column, label="Run") if column.label == "Model" else column for column in table.columns
    ]
    words = caption or table.caption.replace("every model", "every run").replace("between models", "between runs")
    return replace(table, columns=tuple(columns), caption=words)
