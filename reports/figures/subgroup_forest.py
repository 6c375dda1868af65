"""Forest plot of the scores by subgroup, one row a group."""

from __future__ import annotations

from dataclasses import replace

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from reports.document import Figure
from reports.figures.forest import draw_estimate
from reports.figures.style import INK, MUTED, ModelLook, dashed, file_name, label, render
from reports.results import Evaluation
from reports.subgroups import SMALL, Subgroups
from reports.wording import count, metric_label, value_text

SHOWN = ("balanced_accuracy", "macro_f1", "malignant_auc", "accuracy")
GREY = "#9aa2ad"


def subgroup_forest(evaluation: Evaluation, subgroups: Subgroups, model: str, look: ModelLook) -> Figure:
    """Draw the scores of one model in every group, with the score of all images as a line.

    Parameters
    ----------
    evaluation : Evaluation
        Where the scores of all images are from.
    subgroups : Subgroups
        At least one attribute with groups.
    model : str
        Whose scores.
    look : ModelLook
        How the model is drawn.
    """
    rows, headings, place = [], [], 0
    for scores in subgroups.comparable.values():
        headings.append((place, scores.title))
        rows += [(place + 1 + number, name, group) for number, (name, group) in enumerate(scores.groups.items())]
        place += len(scores.groups) + 2
    grey = replace(look, colour=GREY)
    end = place - 0.9

    def paint(canvas: Canvas) -> None:
        first, *others = (canvas.add_subplot(1, len(SHOWN), column + 1) for column in range(len(SHOWN)))
        for axes, metric in zip((first, *others), SHOWN, strict=True):
            _whole(axes, evaluation, model, metric, end)
            for row, _, group in rows:
                draw_estimate(axes, row, group.models[model][metric], grey if group.small else look, size=3.6)
            axes.set_yticks([row for row, *_ in rows], [""] * len(rows))
            axes.set_ylim(end, -0.7)
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
            axes.grid(visible=True, axis="x")
            axes.locator_params(axis="x", nbins=4)
            axes.set_title(metric_label(metric))
        first.set_yticklabels(
            [f"{label(name, 18)} · {count(group.n_images)} / {count(group.n_lesions)}" for _, name, group in rows],
            fontsize=6.5,
        )
        for tick, (_, _, group) in zip(first.get_yticklabels(), rows, strict=True):
            tick.set_color(MUTED if group.small else INK)
        for row, title in headings:
            first.annotate(
                title,
                (0, row),
                xytext=(-4, 0),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                ha="right",
                va="center",
                weight="bold",
                fontsize=7,
            )

    words = [
        f"{scores.title}: "
        + ", ".join(f"{name} {value_text(group.models[model][SHOWN[0]])}" for name, group in scores.groups.items())
        for scores in subgroups.comparable.values()
    ]
    return Figure(
        name=file_name("subgroup-forest", model),
        caption=f"Scores of {model} by subgroup, with 95 % intervals; beside each name its images and lesions. The "
        f"dashed line is the score of all images. Grey: fewer than {SMALL} lesions. n/a: a class that the score needs "
        "has no image in the group.",
        alt=f"Forest plot of the scores of {model} by subgroup. Balanced accuracy by {'; '.join(words)}.",
        svg=render(paint, height=0.55 + 0.15 * (end + 0.7)),
    )


def _whole(axes: Axes, evaluation: Evaluation, model: str, metric: str, end: float) -> None:
    if metric == "malignant_auc":
        levels = evaluation.levels
        estimate = None if levels is None else levels.by_image.models[model].malignant["auc"]
    else:
        estimate = evaluation.models[model].overall[metric]
    if estimate is not None and estimate.value is not None:
        dashed(axes, (estimate.value, estimate.value), (-0.7, end))
