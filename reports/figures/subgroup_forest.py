"""Forest plot of the scores by subgroup, one row a group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from reports.document import Figure
from reports.figures.forest import draw_estimate
from reports.figures.style import INK, MUTED, ModelLook, dashed, file_name, label, render
from reports.results import Evaluation
from reports.subgroups import SMALL, AttributeScores, Subgroups
from reports.wording import count, metric_label, value_text

SHOWN = ("balanced_accuracy", "macro_f1", "malignant_auc", "accuracy")
GREY = "#9aa2ad"

MOST_ROWS = 55
"""Of one figure: more would not fit on an A4 page with its caption."""


def subgroup_forests(evaluation: Evaluation, subgroups: Subgroups, model: str, look: ModelLook) -> tuple[Figure, ...]:
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

    Returns
    -------
    tuple of Figure
        Mostly one; more where the attributes would not fit on a page.
    """
    pages = _pages(list(subgroups.comparable.values()))
    return tuple(
        _forest(evaluation, page, model, look, part=(number, len(pages))) for number, page in enumerate(pages, start=1)
    )


def _pages(attributes: Sequence[AttributeScores]) -> list[list[AttributeScores]]:
    """Share attributes out, in order, so that none is cut and no figure is longer than a page."""
    pages: list[list[AttributeScores]] = [[]]
    for scores in attributes:
        if pages[-1] and sum(map(_rows, [*pages[-1], scores])) > MOST_ROWS:
            pages.append([])
        pages[-1].append(scores)
    return pages


def _rows(scores: AttributeScores) -> int:
    """Return how many rows an attribute takes: its title, its groups, and the gap below."""
    return len(scores.groups) + 2


def _forest(
    evaluation: Evaluation,
    attributes: Sequence[AttributeScores],
    model: str,
    look: ModelLook,
    *,
    part: tuple[int, int],
) -> Figure:
    rows, headings, place = [], [], 0
    for scores in attributes:
        headings.append((place, scores.title))
        rows += [(place + 1 + number, name, group) for number, (name, group) in enumerate(scores.groups.items())]
        place += _rows(scores)
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
                label(title, 30),
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
        for scores in attributes
    ]
    number, parts = part
    several = parts > 1
    return Figure(
        name=file_name("subgroup-forest", model, *([str(number)] if several else [])),
        caption=f"Scores of {model} by subgroup{f', part {number} of {parts}' if several else ''}, with 95 % "
        "intervals; beside each name its images and lesions. The "
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
