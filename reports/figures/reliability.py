"""Reliability diagrams: how often a stated probability comes true."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from reports.curves import Curves, ReliabilityDiagram
from reports.document import Figure
from reports.figures.style import (
    MUTED,
    ModelLook,
    dashed,
    file_name,
    panel_title,
    panels,
    panels_height,
    panels_width,
    render,
    unit_square,
)
from reports.reliability import ReliabilityChange
from reports.results import Estimate, Evaluation
from reports.wording import number, value_text

_BEFORE = (
    " Grey: as trained, before class shares were restored and probabilities calibrated; the ECE is given for both."
)


def reliability_figure(curves: Curves, evaluation: Evaluation, looks: Mapping[str, ModelLook]) -> Figure:
    """Draw the top-label reliability of every model."""
    names, changes = list(curves.models), _changes(evaluation)

    def paint(canvas: Canvas) -> None:
        for axes, name in zip(panels(canvas, len(names)), names, strict=True):
            overall = evaluation.models[name].overall
            unit_square(axes, across="confidence", up="share right")
            before = None if name not in changes else changes[name].before.overall
            _draw(axes, curves.models[name].reliability, before, looks[name])
            panel_title(axes, name, *_scores(before, overall["ece"], overall["brier"]))

    words = [f"{name} {value_text(evaluation.models[name].overall['ece'])}" for name in names]
    return Figure(
        name="reliability",
        caption="Top-label reliability of every model in 15 equal-mass bins: below the diagonal the model is too sure "
        "of itself, above it too cautious. Bars: 95 % Wilson intervals, which take images as independent. ECE and "
        f"Brier score as in the tables.{_BEFORE if changes else ''}",
        alt="Reliability diagrams, one panel a model. Expected calibration error: " + ", ".join(words) + ".",
        svg=render(paint, height=panels_height(len(names), title_lines=3), width=panels_width(len(names))),
    )


def class_reliability_figure(curves: Curves, evaluation: Evaluation, look: ModelLook, model: str) -> Figure:
    """Draw the one-vs-rest reliability of every class for one model."""
    change = _changes(evaluation).get(model)

    def paint(canvas: Canvas) -> None:
        for axes, class_name in zip(panels(canvas, len(curves.classes)), curves.classes, strict=True):
            metrics = evaluation.models[model].per_class[class_name]
            diagram = curves.models[model].class_reliability[class_name]
            unit_square(axes, across="probability", up="share of class")
            before = None if change is None else change.before.per_class[class_name]
            _draw(axes, diagram, before, look)
            panel_title(axes, class_name, *_scores(before, metrics["ece"], metrics["brier"]))

    words = [
        f"{class_name} {value_text(evaluation.models[model].per_class[class_name]['ece'])}"
        for class_name in curves.classes
    ]
    return Figure(
        name=file_name("reliability", model),
        caption=f"Reliability of the probabilities of {model}, one class against the rest, in 15 equal-mass bins."
        + (_BEFORE if change is not None else ""),
        alt=f"Reliability diagrams of {model}, one panel a class. Expected calibration error: "
        + ", ".join(words)
        + ".",
        svg=render(
            paint, height=panels_height(len(curves.classes), title_lines=3), width=panels_width(len(curves.classes))
        ),
    )


def _changes(evaluation: Evaluation) -> Mapping[str, ReliabilityChange]:
    return {} if evaluation.effects is None else evaluation.effects.reliability


def _draw(axes: Axes, diagram: ReliabilityDiagram, before: ReliabilityDiagram | None, look: ModelLook) -> None:
    dashed(axes, (0, 1), (0, 1))
    if before is not None:
        axes.plot(before.mean_confidence, before.observed, color=MUTED, linewidth=0.8, marker=".", markersize=3)
    axes.vlines(diagram.mean_confidence, diagram.low, diagram.high, color=look.colour, linewidth=0.9, alpha=0.6)
    axes.plot(diagram.mean_confidence, diagram.observed, color=look.colour, marker=look.marker, markersize=3)


def _scores(before: ReliabilityDiagram | None, ece: Estimate, brier: Estimate) -> tuple[str, str]:
    """Return the lines under the name of a panel: no corner inside is free, a rare class fills even the lower right."""
    ece_before = "" if before is None else f"{number(before.ece)} → "
    return f"ECE {ece_before}{value_text(ece)}", f"Brier {value_text(brier)}"
