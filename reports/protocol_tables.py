"""Tables of the protocols that train more than once: repetitions, and folds that ignore lesions."""

from __future__ import annotations

from dataclasses import replace

from reports.document import Cell, Column, Paragraph, Table
from reports.metrics import OVERALL_METRICS
from reports.results import InflatedScore, Inflation, RepeatedScore, Repeats
from reports.score_tables import estimate_cell, missing, plain
from reports.wording import METRICS, metric_in_sentence, metric_label, number, percent, signed

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
    return Cell(text=number(score.mean), detail=detail, value=score.mean)


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


def inflation_table(inflation: Inflation) -> Table:
    """Return for every overall metric and model the difference between the two kinds of folds, and both values."""
    return Table(
        name="leakage-inflation",
        caption="Score on folds of images minus score on folds that keep lesions together, with a 95 % interval from "
        "the same lesion resamples for both; below it, both scores. Bold: the interval excludes zero. The intervals "
        "describe the sampling of lesions for the networks as trained: how far training again would move a score is "
        "not in them, and they are not adjusted for the number of comparisons.",
        columns=(
            Column(label="Score", numeric=False),
            *(Column(label=model, explain="Image-level minus grouped.") for model in inflation.models),
        ),
        rows=tuple(
            (
                Cell(text=METRICS[metric].label),
                *(_inflated(scores[metric]) for scores in inflation.models.values()),
            )
            for metric in OVERALL_METRICS
        ),
    )


def _inflated(score: InflatedScore) -> Cell:
    difference = score.difference
    cell = estimate_cell(difference, sign=True)
    if score.grouped is None or score.image_level is None:
        return cell
    apart = difference.low is not None and difference.high is not None and not difference.low <= 0 <= difference.high
    values = f"{number(score.grouped)} → {number(score.image_level)}"
    return replace(cell, detail=f"{cell.detail} {values}".strip(), best=apart)
