"""Heat maps of what pairs of members have in common."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure as Canvas

from reports.diversity import Diversity
from reports.document import Figure
from reports.figures.confusion import ON_DARK, ON_LIGHT
from reports.figures.style import INK, WIDTH, label, render
from reports.wording import NOT_AVAILABLE, number, percent, value_text

RAMP = LinearSegmentedColormap.from_list("alike", ["#fbf4ee", "#f2c29b", "#d9772f", "#8a3a05"])
LARGEST_CELL = 0.62
TITLES = {"agreement": "same class named", "error_correlation": "correlation of errors"}


def diversity_figure(diversity: Diversity) -> Figure:
    """Draw the agreement of every pair of members, and the correlation of their errors."""
    n = len(diversity.members)
    names = [label(member, 20) for member in diversity.members]
    margin = 0.25 + 0.062 * max(len(name) for name in names)
    cell = min(LARGEST_CELL, (WIDTH / 2 - margin) / n)

    def paint(canvas: Canvas) -> None:
        for place, metric in enumerate(TITLES):
            axes = canvas.add_subplot(1, 2, place + 1)
            _draw(axes, diversity, metric)
            axes.set_xticks(np.arange(n) + 0.5, names, rotation=40, ha="right", rotation_mode="anchor")
            axes.set_yticks(np.arange(n) + 0.5, names)
            axes.set_title(TITLES[metric])

    words = "; ".join(
        f"{pair.model} and {pair.other} {value_text(pair.metrics['agreement'])}, "
        f"{value_text(pair.metrics['error_correlation'])}"
        for pair in diversity.pairs
    )
    return Figure(
        name="diversity",
        caption="Pairs of members: share of images for which both name the same class, and correlation of their "
        "errors. An ensemble gains most from members that err on different images.",
        alt=f"Heat maps of pairs of members: agreement, then correlation of errors. {words}.",
        svg=render(paint, height=cell * n + margin + 0.25, width=2 * (cell * n + margin) + 0.2),
    )


def _draw(axes: Axes, diversity: Diversity, metric: str) -> None:
    n = len(diversity.members)
    values = np.full((n, n), np.nan)
    for row, model in enumerate(diversity.members):
        for column, other in enumerate(diversity.members):
            if row == column:
                continue
            estimate = diversity.pair(model, other).metrics[metric]
            value = np.nan if estimate.value is None else estimate.value
            values[row, column] = value
            written = percent(value) if metric == "agreement" else number(value, 2)
            axes.text(
                column + 0.5,
                row + 0.5,
                NOT_AVAILABLE if estimate.value is None else written,
                ha="center",
                va="center",
                size=7 if n < 8 else 5.6,
                color=ON_DARK if value > 0.6 else ON_LIGHT,
            )
    axes.pcolormesh(np.ma.masked_invalid(values), cmap=RAMP, vmin=0, vmax=1, edgecolors="#ffffff", linewidth=1.0)
    axes.set(xlim=(0, n), ylim=(n, 0), aspect="equal")
    axes.tick_params(length=0, labelcolor=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
