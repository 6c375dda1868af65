"""The report of a comparison of runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from reports import compare_tables as tables
from reports.compared_run import ComparedRun
from reports.document import Block, Bullets, Document, Figure, Notice, Paragraph, Section
from reports.figures.forest import class_forests, difference_forest, overall_forest
from reports.figures.style import model_looks
from reports.method_notes import glossary, score_notes
from reports.run_comparison import RunComparison
from reports.summary import DEMO_BANNER, SUMMARY_METRICS, leakage_warning
from reports.wording import count, listing, plural

CLASS_METRICS = ("recall", "precision", "auc")

_HELD_OUT = "Every image was held out of the training of what scored it."


def build_comparison_document(comparison: RunComparison) -> Document:
    """Put the report of a comparison together.

    Parameters
    ----------
    comparison : RunComparison
        Every number in tables and figures is from here.
    """
    evaluation = tables.as_evaluation(comparison)
    looks = model_looks({run.label: run.kind for run in comparison.runs})
    sections = (
        _summary(comparison),
        _runs(comparison),
        Section(
            name="scores",
            title="Scores",
            blocks=(*tables.score_tables(comparison), _of_runs(overall_forest(evaluation, looks))),
        ),
        _differences(comparison),
        Section(
            name="classes",
            title="Scores by class",
            blocks=(
                *(_of_runs(figure) for figure in class_forests(evaluation, looks)),
                *(tables.class_table(comparison, metric) for metric in CLASS_METRICS),
            ),
        ),
        Section(name="method", title="Method and limits", blocks=(*_method(comparison), glossary())),
    )
    labels = [run.label for run in comparison.runs]
    return Document(
        title="Comparison of runs",
        subtitle=listing(labels),
        banner=_banner(comparison),
        date=comparison.date,
        sections=sections,
    )


def _banner(comparison: RunComparison) -> str | None:
    warnings = [DEMO_BANNER] if comparison.demo else []
    warnings += [f"{run.label}: {leakage_warning(run.leakage)}" for run in comparison.runs if run.leakage is not None]
    return " ".join(warnings) or None


def _summary(comparison: RunComparison) -> Section:
    yardstick = comparison.runs[0].label
    few = len(comparison.runs) == 2
    findings = tuple(
        found.sentence
        for found in comparison.comparisons
        if found.metric in SUMMARY_METRICS and (few or found.against == yardstick)
    )
    return Section(
        name="summary",
        title="Summary",
        blocks=(
            *_notices(comparison),
            Paragraph(text=_what_was_compared(comparison)),
            Paragraph(text=verdict(comparison)),
            Bullets(items=findings),
            Paragraph(
                title="What a difference means.",
                text="The intervals and tests over images and lesions take the networks as they are and ask about new "
                "lesions of the same kind. Trained again with another seed, a run gives other networks: a small "
                "difference between two runs may be no more than that"
                + (
                    ", and only the test over folds has some of it in it."
                    if comparison.same_folds and comparison.over_folds
                    else ". Repeat both with other seeds before a setting is called better."
                ),
            ),
        ),
    )


def verdict(comparison: RunComparison) -> str:
    """Say in a sentence or two what the adjusted tests of all metrics show."""
    judged: dict[tuple[str, str], list[str]] = {}
    for found in comparison.comparisons:
        judged.setdefault((found.model, found.against), []).append(found.evidence)
    for family in comparison.tests:
        for pair in family.pairs:
            judged.setdefault((pair.model, pair.against), []).append(pair.evidence)
    sentences = [
        f"{evidence.count('difference')} of {plural(len(evidence) - evidence.count('undefined'), 'test')} find a "
        f"difference between {model} and {against}."
        for (model, against), evidence in judged.items()
        if "difference" in evidence
    ]
    if alike := [f"{model} and {against}" for (model, against), found in judged.items() if "difference" not in found]:
        sentences.append(f"No test finds evidence of a difference between {'; between '.join(alike)}.")
    return " ".join(sentences)


def _notices(comparison: RunComparison) -> Iterator[Notice]:
    for run in comparison.runs:
        if run.record.status != "done":
            yield Notice(text=f"{run.label} did not come to its end (status: {run.record.status}).", level="warning")
    if comparison.paired:
        for mismatch in comparison.mismatches:
            tested = " There is no test over folds." if mismatch.aspect == "folds" else ""
            yield Notice(
                text=f"{mismatch.first} and {mismatch.other} differ: {mismatch.words}. Their images were paired all "
                f"the same, as was asked for.{tested}",
                level="warning",
            )
        return
    for found in comparison.shared:
        if found.lesions:
            yield Notice(
                text=f"{found.first} and {found.other} have {plural(found.lesions, 'lesion id')} and "
                f"{plural(found.images, 'image id')} in common, but were compared without pairs, as was asked for. If "
                "they are the same lesions, the samples are not independent: intervals and p-values are then as a "
                "rule too large.",
                level="warning",
            )
        else:
            yield Notice(
                text=f"{found.first} and {found.other} have no lesion id in common and were compared without pairs. "
                "The images differ, too, and a difference between the scores may be one between the images.",
                level="warning",
            )


def _what_was_compared(comparison: RunComparison) -> str:
    runs = comparison.runs
    names = listing([run.label for run in runs])
    models = {run.model for run in runs}
    taken = (
        f"Of each run, {models.pop()} was taken."
        if len(models) == 1
        else "Taken were " + listing([f"{run.model} of {run.name}" for run in runs]) + "."
    )
    if comparison.paired:
        classes = plural(len(comparison.classes), "class", "classes")
        return (
            f"{plural(len(runs), 'run')} ({names}) were compared on the same {_size(runs[0])} in {classes}, joined by "
            f"image id. {taken} {_HELD_OUT}"
        )
    sizes = listing([f"{run.label} on {_size(run)} ({run.record.data.name})" for run in runs])
    return f"{plural(len(runs), 'run')} were compared without pairs: {sizes}. {taken} {_HELD_OUT}"


def _size(run: ComparedRun) -> str:
    lesions = len(set(run.predictions.lesion_ids.tolist()))
    return f"{plural(len(run.predictions.image_ids), 'image')} of {plural(lesions, 'lesion')}"


def _runs(comparison: RunComparison) -> Section:
    blocks: list[Block] = [tables.runs_table(comparison)]
    if comparison.settings:
        blocks += [tables.settings_table(comparison)]
        if len(comparison.settings) > 1:
            blocks += [
                Paragraph(
                    text=f"The runs differ in {count(len(comparison.settings))} settings: a difference between their "
                    "scores is one of all of them together."
                )
            ]
    else:
        blocks += [Paragraph(text="No setting differs between the runs.")]
    if comparison.mismatches:
        blocks += [tables.mismatch_table(comparison)]
    return Section(name="runs", title="Runs and data", blocks=(*blocks, tables.class_counts_table(comparison)))


def _differences(comparison: RunComparison) -> Section:
    looks = model_looks({run.label: run.kind for run in comparison.runs})
    forest = difference_forest(comparison.comparisons, looks)
    drawn = "from the same lesion resamples for both" if comparison.paired else "from lesion resamples of its own each"
    forest = replace(
        forest,
        caption=f"Differences between runs, with 95 % intervals {drawn}. An interval that crosses zero is no evidence "
        "of a difference.",
    )
    return Section(
        name="differences",
        title="Differences",
        blocks=(
            forest,
            tables.difference_table(comparison),
            tables.tests_table(comparison),
            *((tables.right_table(comparison),) if comparison.right else ()),
        ),
    )


def _of_runs(figure: Figure) -> Figure:
    """Call the models of a figure runs, since here each is one."""
    return replace(
        figure,
        caption=figure.caption.replace("every model", "every run"),
        alt=figure.alt.replace("one row a model", "one row a run"),
    )


def _method(comparison: RunComparison) -> Iterator[Paragraph]:
    if comparison.paired:
        yield Paragraph(
            title="Pairs.",
            text="The predictions of the runs were joined by image id. Labels, lesions and groups of lesions are the "
            "same in all, and so are "
            + (
                ("the folds" if comparison.same_folds else "the images, though not the folds")
                if comparison.over_folds
                else "the images"
            )
            + ". Every resample draws the same lesions for all runs.",
        )
    else:
        yield Paragraph(
            title="No pairs.",
            text="Every run was scored on its own images, and has lesion resamples of its own; the difference of "
            "two runs is taken resample by resample. DeLong’s test adds up the variances of the two areas. McNemar’s "
            "test and the test over folds need pairs and were not made.",
        )
    for note in score_notes(count(comparison.resamples), over_folds=comparison.over_folds):
        if comparison.paired or note.title != "Tests.":
            yield note
    yield Paragraph(
        title="Limits.",
        text="For research only. Which run is best was not known before; the more runs are compared, the more the "
        "best of them owes to chance. p-values are adjusted for the pairs of runs in this report, not for runs that "
        "were left out of it.",
    )
