"""Forest plots: point estimates with their intervals, one row a model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from reports.document import Figure
from reports.figures.style import GRID, INK, MUTED, WIDTH, ModelLook, label, render
from reports.results import Comparison, Estimate, Evaluation, ModelScores
from reports.wording import METRICS, NOT_AVAILABLE, estimate_words, metric_label, signed, value_text

OVERALL = ("macro_f1", "balanced_accuracy", "macro_auc", "log_loss", "brier", "ece")
PER_CLASS = ("f1", "auc")
MOST_ROWS = 66


def overall_forest(evaluation: Evaluation, looks: Mapping[str, ModelLook]) -> Figure:
    """Draw the main overall metrics of every model."""
    models = list(evaluation.models.values())

    def paint(canvas: Canvas) -> None:
        for place, metric in enumerate(OVERALL):
            axes = canvas.add_subplot(2, 3, place + 1)
            for row, scores in enumerate(models):
                draw_estimate(axes, row, scores.overall[metric], looks[scores.name])
            _model_rows(axes, models, shown=place % 3 == 0)
            axes.set_title(metric_label(metric))
            axes.set_xlabel(direction(metric), color=MUTED)

    best = [
        f"{scores.name}: "
        + ", ".join(f"{metric_label(metric)} {estimate_words(scores.overall[metric])}" for metric in OVERALL[:2])
        for scores in models
    ]
    return Figure(
        name="overall-scores",
        caption=f"Overall scores of every model on {evaluation.scored_on}: point estimate and 95 % interval "
        "(bootstrap over lesions). Each panel has its own scale.",
        alt="Forest plot with one row a model. " + "; ".join(best) + ".",
        svg=render(paint, height=2 * (0.62 + 0.19 * len(models))),
    )


def class_forests(evaluation: Evaluation, looks: Mapping[str, ModelLook]) -> tuple[Figure, ...]:
    """Draw F1 and AUC of every class and model, in as many figures as fit a page each."""
    most = max(1, MOST_ROWS // (len(evaluation.models) + 1))
    parts = math.ceil(len(evaluation.classes) / most)
    size = math.ceil(len(evaluation.classes) / parts)
    return tuple(
        _class_forest(
            evaluation,
            looks,
            evaluation.classes[part * size : (part + 1) * size],
            name="class-scores" if parts == 1 else f"class-scores-{part + 1}",
        )
        for part in range(parts)
    )


def _class_forest(
    evaluation: Evaluation, looks: Mapping[str, ModelLook], classes: Sequence[str], *, name: str
) -> Figure:
    models = list(evaluation.models.values())
    block = len(models) + 1.6

    def paint(canvas: Canvas) -> None:
        for place, metric in enumerate(PER_CLASS):
            axes = canvas.add_subplot(1, 2, place + 1)
            for group, class_name in enumerate(classes):
                top = group * block
                axes.axhline(top - 0.3, color=GRID, linewidth=0.6, zorder=0)
                for row, scores in enumerate(models):
                    estimate = scores.per_class[class_name][metric]
                    draw_estimate(axes, top + 1 + row, estimate, looks[scores.name], size=3.2)
                if place == 0:
                    axes.text(
                        -0.03,
                        top + 0.1,
                        label(class_name),
                        transform=axes.get_yaxis_transform(),
                        weight="bold",
                        ha="right",
                        va="center",
                    )
            rows = [group * block + 1 + row for group in range(len(classes)) for row in range(len(models))]
            names = [label(scores.name) for _ in classes for scores in models]
            axes.set_yticks(rows, names if place == 0 else [""] * len(names), fontsize=6.3)
            axes.set_ylim(len(classes) * block - 0.3, -0.5)
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
            axes.grid(visible=True, axis="x")
            axes.set_title(metric_label(metric))

    words = [
        f"{class_name}: "
        + ", ".join(f"{scores.name} {value_text(scores.per_class[class_name]['f1'])}" for scores in models)
        for class_name in classes
    ]
    return Figure(
        name=name,
        caption="F1 and AUC of each class against the rest, for every model, with 95 % intervals. The scales differ "
        "between the two panels.",
        alt="Forest plot of F1 and AUC, grouped by class. F1: " + "; ".join(words) + ".",
        svg=render(paint, height=0.55 + 0.125 * block * len(classes)),
    )


def difference_forest(comparisons: Sequence[Comparison], looks: Mapping[str, ModelLook]) -> Figure:
    """Draw paired differences between models, one panel a metric, with a line at zero."""
    metrics = list(dict.fromkeys(comparison.metric for comparison in comparisons))[:6]
    pairs = list(dict.fromkeys((comparison.model, comparison.against) for comparison in comparisons))
    columns = 3 if len(metrics) in (3, 5, 6) else min(2, len(metrics))
    rows = math.ceil(len(metrics) / columns)

    def paint(canvas: Canvas) -> None:
        for place, metric in enumerate(metrics):
            axes = canvas.add_subplot(rows, columns, place + 1)
            axes.axvline(0, color=INK, linewidth=0.8)
            for comparison in comparisons:
                if comparison.metric == metric:
                    row = pairs.index((comparison.model, comparison.against))
                    draw_estimate(axes, row, comparison.difference, looks[comparison.model])
            names = [f"{label(model, 18)} −\n{label(against, 18)}" for model, against in pairs]
            axes.set_yticks(range(len(pairs)), names if place % columns == 0 else [""] * len(pairs), fontsize=6.5)
            axes.set_ylim(len(pairs) - 0.4, -0.6)
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
            axes.grid(visible=True, axis="x")
            axes.locator_params(axis="x", nbins=4)
            axes.set_title(metric_label(metric))
            axes.set_xlabel(direction(metric), color=MUTED)

    words = [
        f"{comparison.model} minus {comparison.against}, {metric_label(comparison.metric)}: "
        + (NOT_AVAILABLE if comparison.difference.value is None else signed(comparison.difference.value))
        + f", {comparison.evidence}"
        for comparison in comparisons
        if comparison.metric in metrics
    ]
    return Figure(
        name="differences",
        caption="Paired differences between models, with 95 % intervals from the same lesion resamples for both. An "
        "interval that crosses zero is no evidence of a difference.",
        alt="Forest plot of differences. " + "; ".join(words) + ".",
        svg=render(paint, height=rows * (0.65 + 0.28 * len(pairs)), width=WIDTH),
    )


def direction(metric: str) -> str:
    """Say which end of a metric's axis is good."""
    words = {"higher": "higher is better →", "lower": "← lower is better", "neither": ""}
    return words[METRICS[metric].better] if metric in METRICS else ""


def draw_estimate(axes: Axes, row: float, estimate: Estimate, look: ModelLook, *, size: float = 4.2) -> None:
    """Draw one row of a forest plot; an undefined value is said in words."""
    if estimate.value is None:
        axes.text(
            0.01, row, NOT_AVAILABLE, transform=axes.get_yaxis_transform(), va="center", color=MUTED, fontsize=6.5
        )
        return
    if estimate.low is not None and estimate.high is not None:
        axes.plot([estimate.low, estimate.high], [row, row], color=look.colour, linewidth=1.4, solid_capstyle="butt")
    axes.plot([estimate.value], [row], color=look.colour, marker=look.marker, markersize=size)


def _model_rows(axes: Axes, models: Sequence[ModelScores], *, shown: bool) -> None:
    names = [label(scores.name) for scores in models]
    axes.set_yticks(range(len(models)), names if shown else [""] * len(models))
    axes.set_ylim(len(models) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=True, axis="x")
    axes.locator_params(axis="x", nbins=5)
