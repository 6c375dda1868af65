"""The page of the nested estimate: two sentences and a table."""

from __future__ import annotations

from dataclasses import replace

from reports.document import Cell, Column, Paragraph, Table
from reports.results import Estimate, Nested, NestedScore
from reports.score_tables import estimate_cell
from reports.wording import METRICS, metric_in_sentence, metric_label, number, plural, signed

NESTED_METRICS = ("macro_f1", "balanced_accuracy", "macro_auc", "log_loss")


def nested_text(nested: Nested, lead: str) -> tuple[Paragraph, ...]:
    """Say what was done, and how far the usual estimate of one ensemble is from the nested one."""
    model = "stack" if "stack" in nested.models else lead
    log_loss, macro_f1 = (_sentence(model, metric, nested.models[model][metric]) for metric in ("log_loss", "macro_f1"))
    return (
        Paragraph(
            text="The ensemble that scores a fold never learns from this fold, but usually from outputs of networks "
            "that did; for the nested estimate each backbone was therefore also trained without every pair of folds "
            f"({plural(nested.n_pairs, 'more training')} a backbone), so that nothing behind the score of a fold has "
            f"seen it. {log_loss} {macro_f1}",
        ),
        Paragraph(
            text="All other scores of this report, and the predictor, are the usual ones. The nested estimate tends to "
            f"err to the careful side: its ensembles learned from networks with {nested.n_folds - 2} folds to train "
            f"on, and combine networks that had {nested.n_folds - 1}.",
        ),
    )


def _sentence(model: str, metric: str, score: NestedScore) -> str:
    what = metric_in_sentence(metric)
    usual, nested, difference = score.usual.value, score.nested.value, score.difference
    if usual is None or nested is None or difference.value is None:
        return f"The usual and the nested {what} of {model} cannot be compared: {difference.reason}."
    text = f"The {what} of {model} is {number(usual)} by the usual estimate and {number(nested)} nested"
    if difference.low is None or difference.high is None:
        return f"{text} ({signed(difference.value)}; no interval: {difference.reason})."
    span = f"{signed(difference.value)}, 95 % interval {signed(difference.low)} to {signed(difference.high)}"
    if not _apart(difference):
        return f"{text}: no evidence of a difference ({span})."
    flattering = (difference.value > 0) == (METRICS[metric].better == "higher")
    return f"{text}, so that the usual one is too {'good' if flattering else 'poor'} ({span})."


def nested_table(nested: Nested) -> Table:
    """Return the difference between both estimates for every ensemble, and both values."""
    return Table(
        name="nested",
        caption="Usual minus nested estimate of every ensemble, with a 95 % interval from the same lesion resamples "
        "for both; below it, the nested and the usual score. Bold: the interval excludes zero. The intervals hold for "
        "the networks as trained, and are not adjusted for the number of comparisons; metrics.json has every score.",
        columns=(
            Column(label="Ensemble", numeric=False),
            *(Column(label=metric_label(metric), explain=METRICS[metric].explain) for metric in NESTED_METRICS),
        ),
        rows=tuple(
            (Cell(text=model), *(_cell(scores[metric]) for metric in NESTED_METRICS))
            for model, scores in nested.models.items()
        ),
    )


def _cell(score: NestedScore) -> Cell:
    cell = estimate_cell(score.difference, sign=True)
    if score.usual.value is None or score.nested.value is None:
        return cell
    values = f"{number(score.nested.value)} → {number(score.usual.value)}"
    behind = (*cell.behind, ("nested", score.nested.value), ("usual", score.usual.value))
    detail = f"{cell.detail} {values}".strip()
    return replace(cell, detail=detail, behind=behind, best=_apart(score.difference))


def _apart(difference: Estimate) -> bool:
    return difference.low is not None and difference.high is not None and not difference.low <= 0 <= difference.high
