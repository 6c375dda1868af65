"""Scores before and after calibration, and by decision rule, as words and tables."""

from __future__ import annotations

from reports.document import Cell, Column, Paragraph, Table
from reports.effects import CALIBRATION_METRICS, DECISION_METRICS, MEAN_COST, Effects
from reports.results import Estimate
from reports.score_tables import best_value, estimate_cell, metric_columns

_RULES = {
    "max_probability": "highest probability",
    "balanced": "highest multiple of the class share",
    "costs": "lowest expected cost",
}


def calibration_text() -> Paragraph:
    """Say what was done to the probabilities."""
    return Paragraph(
        title="Before and after.",
        text="Networks that are trained on resampled classes state probabilities for classes of the shares that they "
        "were shown, and most are too sure of themselves. The shares of the natural data were restored and the "
        "probabilities calibrated, for every model on images that were not scored with the result. A calibrated "
        "model names rare classes less often: accuracy rises and balanced accuracy falls, which the decision rules "
        "under “Decision rules” can reverse.",
    )


def calibration_table(effects: Effects) -> Table:
    """Return the scores of every model as trained, and with natural class shares and calibrated."""
    return Table(
        name="before-and-after",
        caption="Every model as trained, and with natural class shares and calibrated, with 95 % intervals. The change "
        "of the log-loss is paired: the same lesion resamples for both.",
        columns=(
            Column(label="Model", numeric=False),
            Column(label="Probabilities", numeric=False),
            *metric_columns(CALIBRATION_METRICS),
            Column(label="Change of log-loss", explain="Calibrated minus as trained; below 0 is a gain."),
        ),
        rows=tuple(
            row
            for model, metrics in effects.calibration.items()
            for row in (
                (
                    Cell(text=model),
                    Cell(text="as trained"),
                    *(estimate_cell(metrics[metric].before) for metric in CALIBRATION_METRICS),
                    Cell(text=""),
                ),
                (
                    Cell(text=model),
                    Cell(text="calibrated"),
                    *(estimate_cell(metrics[metric].after) for metric in CALIBRATION_METRICS),
                    estimate_cell(metrics["log_loss"].difference, sign=True),
                ),
            )
        ),
    )


def decision_text(effects: Effects) -> Paragraph:
    """Say what the rules are for."""
    costs = "; the lowest expected cost follows from the cost matrix of the run" if _has_costs(effects) else ""
    return Paragraph(
        title="Probabilities are not decisions.",
        text="What to decide depends on what a mistake costs. The class of the highest probability makes the fewest "
        "mistakes; the class whose probability is the highest multiple of its share treats all classes alike, for the "
        f"balanced accuracy{costs}. The probabilities are the same under every rule.",
    )


def decision_table(effects: Effects) -> Table:
    """Return the scores of every model under every decision rule."""
    metrics = (*DECISION_METRICS, *((MEAN_COST,) if _has_costs(effects) else ()))
    cost = Column(label="Mean cost", explain="Of a decision, by the cost matrix of the run; lower is better.")
    best = {metric: _best(effects, metric) for metric in metrics}
    return Table(
        name="decision-rules",
        caption="Decisions of every model by rule, with 95 % intervals. Bold: best point estimate of the column.",
        columns=(
            Column(label="Model", numeric=False),
            Column(label="Decides for", numeric=False),
            *metric_columns(DECISION_METRICS),
            *((cost,) if _has_costs(effects) else ()),
        ),
        rows=tuple(
            (
                Cell(text=model),
                Cell(text=_RULES[rule]),
                *(estimate_cell(scores[metric], best=best[metric]) for metric in metrics),
            )
            for model, rules in effects.decisions.items()
            for rule, scores in rules.items()
        ),
    )


def _has_costs(effects: Effects) -> bool:
    return any("costs" in rules for rules in effects.decisions.values())


def _best(effects: Effects, metric: str) -> float | None:
    estimates: list[Estimate] = [scores[metric] for rules in effects.decisions.values() for scores in rules.values()]
    if metric == MEAN_COST:
        return min((estimate.value for estimate in estimates if estimate.value is not None), default=None)
    return best_value(estimates, metric)
