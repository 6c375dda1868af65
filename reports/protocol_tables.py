"""Tables of the protocols that train more than once: repetitions, and folds that ignore lesions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reports.document import Cell, Column, Paragraph, Table
from reports.metrics import OVERALL_METRICS
from reports.results import InflatedScore, Inflation, RepeatedScore, Repeats
from reports.score_tables import estimate_cell, missing, plain
from reports.wording import METRICS, metric_in_sentence, metric_label, number, percent, signed

_SIDE_BY_SIDE = 5
"""Metrics that fit on the width of a page with both scores."""

REPEATED_METRICS = ("macro_f1", "balanced_accuracy", "macro_auc", "accuracy", "log_loss", "ece")


def repeats_text(repeats: Repeats) -> Paragraph:
    """Say what the repetitions are."""
    return Paragraph(
        text=f"The cross-validation was carried out {repeats.n} times, with other folds and other random numbers each "
        "time. All scores elsewhere in this report are those of the first time. The standard deviation shows how far a "
        "single cross-validation depends on chance in folds and training; since all repetitions use the same images, "
        "it says nothing about other lesions, for which see the intervals.",
    )


def repeats_table(repeats: Repeats) -> Table:
    """Return mean and standard deviation of every model over the repetitions."""
    return Table(
        name="repetitions",
        caption=f"Mean over {repeats.n} repetitions, with the standard deviation (n − 1) and the range below.",
        columns=(
            Column(label="Model", numeric=False),
            *(Column(label=metric_label(metric), explain=METRICS[metric].explain) for metric in REPEATED_METRICS),
        ),
        rows=tuple(
            (Cell(text=model), *(_repeated(scores[metric]) for metric in REPEATED_METRICS))
            for model, scores in repeats.models.items()
        ),
    )


def repeat_values(repeats: Repeats, metric: str) -> Table:
    """Return a metric in every repetition."""
    return Table(
        name=f"repetitions-{metric}",
        caption=f"{metric_label(metric)} in each repetition.",
        columns=(Column(label="Model", numeric=False), *(Column(label=str(n)) for n in range(1, repeats.n + 1))),
        rows=tuple(
            (
                Cell(text=model),
                *(missing("undefined") if value is None else plain(value) for value in scores[metric].values),
            )
            for model, scores in repeats.models.items()
        ),
    )


def _repeated(score: RepeatedScore) -> Cell:
    if score.mean is None or score.deviation is None:
        return missing("undefined in a repetition")
    known = [value for value in score.values if value is not None]
    detail = f"± {number(score.deviation)} ({number(min(known))} to {number(max(known))})"
    behind = (("SD", score.deviation), ("smallest", min(known)), ("largest", max(known)))
    return Cell(text=number(score.mean), detail=detail, behind=behind, value=score.mean)


def inflation_text(inflation: Inflation, lead: str) -> tuple[Paragraph, ...]:
    """Say in words how much of the scores of one model was the split."""
    scores = inflation.models[lead]
    share = percent(inflation.n_shared / inflation.n_images, 1)
    return (
        Paragraph(
            text="The same networks were trained twice: on folds that keep all images of a lesion together, and on "
            "folds that deal out images without regard to lesions, as much published work does. On the latter, "
            f"{share} of the images are tested by networks that were trained on other images of their lesion. "
            "Everything else is the same: images, networks, settings, seed, number of folds. All scores elsewhere in "
            "this report, and the predictor, are those of the folds that keep lesions together.",
        ),
        Paragraph(
            text=" ".join(_sentence(lead, metric, scores[metric]) for metric in ("macro_f1", "balanced_accuracy")),
        ),
    )


def _sentence(model: str, metric: str, score: InflatedScore) -> str:
    what = metric_in_sentence(metric)
    difference = score.difference
    if score.grouped is None or score.image_level is None or difference.value is None:
        return f"The {what} of {model} cannot be compared: {difference.reason}."
    values = f"{number(score.image_level)} instead of {number(score.grouped)}"
    text = f"With folds of images, the {what} of {model} is {values}"
    if difference.low is None or difference.high is None:
        return f"{text} ({signed(difference.value)}; no interval: {difference.reason})."
    span = f"{signed(difference.value)}, 95 % interval {signed(difference.low)} to {signed(difference.high)}"
    if difference.low <= 0 <= difference.high:
        return f"{text}: no evidence of a difference ({span})."
    return f"{text} ({span})."


def inflation_tables(inflation: Inflation) -> tuple[Table, Table]:
    """Return both scores of every model and their difference, in two tables: all metrics do not fit side by side."""
    return (
        _inflation_table(
            inflation,
            "leakage-inflation",
            OVERALL_METRICS[:_SIDE_BY_SIDE],
            "Score on folds that keep lesions together → score on folds of images; below it the difference, with a "
            "95 % interval from the same lesion resamples for both. Bold: the interval excludes zero. The intervals "
            "describe the sampling of lesions for the networks as trained: how far training again would move a score "
            "is not in them, and they are not adjusted for the number of comparisons.",
        ),
        _inflation_table(
            inflation,
            "leakage-inflation-further",
            OVERALL_METRICS[_SIDE_BY_SIDE:],
            "The same for further scores; of log-loss, Brier score and ECE, less is better.",
        ),
    )


def _inflation_table(inflation: Inflation, name: str, metrics: Sequence[str], caption: str) -> Table:
    return Table(
        name=name,
        caption=caption,
        columns=(
            Column(label="Model", numeric=False),
            *(Column(label=METRICS[metric].label, explain=METRICS[metric].explain) for metric in metrics),
        ),
        rows=tuple(
            (Cell(text=model), *(_inflated(scores[metric]) for metric in metrics))
            for model, scores in inflation.models.items()
        ),
    )


def _inflated(score: InflatedScore) -> Cell:
    difference = score.difference
    if score.grouped is None or score.image_level is None or difference.value is None:
        return missing(difference.reason)
    cell = estimate_cell(difference, sign=True)
    apart = difference.low is not None and difference.high is not None and not difference.low <= 0 <= difference.high
    return replace(
        cell,
        text=f"{number(score.grouped)} → {number(score.image_level)}",
        detail=f"{cell.text} {cell.detail}".strip(),
        behind=(*cell.behind, ("grouped", score.grouped), ("image-level", score.image_level)),
        best=apart,
    )
