"""Strip plot of the overall metrics in each fold alone."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure as Canvas

from reports.document import Figure
from reports.figures.forest import direction
from reports.figures.style import INK, MUTED, ModelLook, label, render
from reports.results import Evaluation
from reports.wording import metric_label, number

SPREAD_METRICS = ("macro_f1", "balanced_accuracy", "macro_auc", "log_loss")


def fold_spread(evaluation: Evaluation, looks: Mapping[str, ModelLook]) -> Figure:
    """Draw a dot a fold and a bar at their mean, for every model."""
    models = list(evaluation.models.values())

    def paint(canvas: Canvas) -> None:
        for place, metric in enumerate(SPREAD_METRICS):
            axes = canvas.add_subplot(2, 2, place + 1)
            for row, scores in enumerate(models):
                values = fold_values(scores.folds, metric)
                look = looks[scores.name]
                axes.plot(
                    values,
                    [row] * len(values),
                    linestyle="",
                    marker="o",
                    markersize=4.2,
                    markeredgecolor=look.colour,
                    markerfacecolor=look.colour + "55",
                    markeredgewidth=0.8,
                )
                if values:
                    mean = sum(values) / len(values)
                    axes.plot([mean, mean], [row - 0.32, row + 0.32], color=INK, linewidth=1.2)
            shown = place % 2 == 0
            axes.set_yticks(range(len(models)), [label(scores.name) if shown else "" for scores in models])
            axes.set_ylim(len(models) - 0.5, -0.5)
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
            axes.grid(visible=True, axis="x")
            axes.locator_params(axis="x", nbins=6)
            axes.set_title(metric_label(metric))
            axes.set_xlabel(direction(metric), color=MUTED)

    words = []
    for scores in models:
        values = fold_values(scores.folds, "macro_f1")
        if values:
            words.append(f"{scores.name} from {number(min(values))} to {number(max(values))}")
    return Figure(
        name="fold-spread",
        caption="Each dot is one fold, scored alone; the bar is the mean of the folds.",
        alt="Strip plot of the folds' scores. Macro F1: " + ("; ".join(words) or "undefined in every fold") + ".",
        svg=render(paint, height=2 * (0.62 + 0.21 * len(models))),
    )


def fold_values(folds: tuple[Mapping[str, float | None], ...], metric: str) -> list[float]:
    """Return a metric's values in the folds where it is defined."""
    return [value for fold in folds if (value := fold.get(metric)) is not None]
