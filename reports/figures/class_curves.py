"""ROC and precision-recall curves, one panel a class and one line a model."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from reports.curves import Curves, RocCurve
from reports.document import Figure
from reports.figures.style import (
    MUTED,
    ModelLook,
    dashed,
    key_height,
    line_width,
    model_key,
    panel_title,
    panels,
    panels_height,
    panels_width,
    render,
    title_lines,
    unit_square,
)
from reports.results import Evaluation
from reports.wording import value_text


def roc_figure(curves: Curves, evaluation: Evaluation, looks: Mapping[str, ModelLook], lead: str) -> Figure:
    """Draw the ROC curve of every class and the mean over the classes.

    Parameters
    ----------
    curves : Curves
        What is drawn.
    evaluation : Evaluation
        Where the areas that are written beside it come from.
    looks : mapping of str to ModelLook
        Colour of every model.
    lead : str
        The model whose areas are written.
    """
    amount = len(curves.classes) + 1
    scores = {name: _score(evaluation, lead, name, "auc") for name in curves.classes}

    def paint(canvas: Canvas) -> None:
        model_key(canvas, looks)
        *squares, mean = panels(canvas, amount)
        for axes, class_name in zip(squares, curves.classes, strict=True):
            by_model = {name: model.roc.get(class_name) for name, model in curves.models.items()}
            _draw_roc(axes, by_model, looks)
            panel_title(axes, class_name, f"AUC {scores[class_name]}")
            _say_why_empty(axes, curves.models[lead].undefined.get(class_name))
        _draw_roc(mean, {name: model.macro_roc for name, model in curves.models.items()}, looks)
        panel_title(mean, "mean", f"AUC {value_text(evaluation.models[lead].overall['macro_auc'])}")

    return Figure(
        name="roc",
        caption="ROC curves of each class against the rest, and their mean at equal specificity. The AUC over each "
        f"panel is that of {lead}; the dashed line is guessing.",
        alt=f"ROC curves of every model, one panel a class. AUC of {lead}: "
        + ", ".join(f"{name} {score}" for name, score in scores.items())
        + ".",
        svg=render(
            paint,
            height=panels_height(amount, title_lines=title_lines(curves.classes)) + key_height(looks),
            width=panels_width(amount),
        ),
    )


def _draw_roc(axes: Axes, curves: Mapping[str, RocCurve | None], looks: Mapping[str, ModelLook]) -> None:
    unit_square(axes, across="1 − specificity", up="sensitivity")
    dashed(axes, (0, 1), (0, 1))
    for name, curve in curves.items():
        if curve is not None:
            look = looks[name]
            x, y = curve.false_positive_rate, curve.true_positive_rate
            axes.plot(x, y, color=look.colour, linewidth=line_width(look))


def precision_recall_figure(
    curves: Curves, evaluation: Evaluation, looks: Mapping[str, ModelLook], lead: str
) -> Figure:
    """Draw the precision-recall curve of every class with the class's prevalence; parameters as `roc_figure`."""
    amount = len(curves.classes)
    scores = {name: _score(evaluation, lead, name, "average_precision") for name in curves.classes}

    def paint(canvas: Canvas) -> None:
        model_key(canvas, looks)
        for axes, class_name in zip(panels(canvas, amount), curves.classes, strict=True):
            unit_square(axes, across="recall", up="precision")
            for name, model in curves.models.items():
                if class_name in model.precision_recall:
                    curve = model.precision_recall[class_name]
                    if name == lead:
                        dashed(axes, (0, 1), (curve.prevalence, curve.prevalence))
                    look = looks[name]
                    axes.plot(
                        curve.recall,
                        curve.precision,
                        color=look.colour,
                        linewidth=line_width(look),
                        drawstyle="steps-pre",
                    )
            panel_title(axes, class_name, f"AP {scores[class_name]}")
            _say_why_empty(axes, curves.models[lead].undefined.get(class_name))

    return Figure(
        name="precision-recall",
        caption=f"Precision-recall curves of each class against the rest. AP: average precision of {lead}. The dashed "
        "line is the share of the class among all images, which is what guessing gives.",
        alt=f"Precision-recall curves of every model, one panel a class. Average precision of {lead}: "
        + ", ".join(f"{name} {score}" for name, score in scores.items())
        + ".",
        svg=render(
            paint,
            height=panels_height(amount, title_lines=title_lines(curves.classes)) + key_height(looks),
            width=panels_width(amount),
        ),
    )


def _score(evaluation: Evaluation, model: str, class_name: str, metric: str) -> str:
    return value_text(evaluation.models[model].per_class[class_name][metric])


def _say_why_empty(axes: Axes, reason: str | None) -> None:
    if reason is not None:
        axes.text(0.5, 0.3, reason, transform=axes.transAxes, ha="center", fontsize=6.5, color=MUTED)
