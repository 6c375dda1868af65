"""Risk-coverage curves: the share of errors among the images that a model is most sure of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import PercentFormatter

from reports.document import Figure
from reports.figures.style import INK, WIDTH, ModelLook, key_height, line_width, model_key, render
from reports.levels import Level, Levels
from reports.uncertainty import SetCoverage
from reports.wording import percent

SAID = (0.5, 0.8, 1.0)
"""Coverages whose risk is in the text alternative."""


def risk_curve_figure(levels: Levels, sets: SetCoverage | None, looks: Mapping[str, ModelLook], lead: str) -> Figure:
    """Draw the risk at every coverage, per image and, where there are lesions, per lesion.

    Parameters
    ----------
    levels : Levels
        The risk of every model at every coverage.
    sets : SetCoverage or None
        Where the operating point of the prediction sets is from.
    looks : mapping of str to ModelLook
        How every model is drawn.
    lead : str
        The model whose interval is drawn as a band.
    """
    shown = [levels.by_image, *([levels.by_lesion] if levels.by_lesion is not None else [])]

    def paint(canvas: Canvas) -> None:
        model_key(canvas, looks)
        for place, level in enumerate(shown):
            axes = canvas.add_subplot(1, len(shown), place + 1)
            _draw(axes, levels.coverages, level, looks, lead)
            axes.set_title(f"per {level.unit}")
            if place == 0:
                axes.set_ylabel("risk: share of errors")
            if sets is not None and level is shown[-1]:
                _mark(axes, sets, looks)

    at = [levels.coverages.index(coverage) for coverage in SAID]
    risks = [(name, scores.risk) for name, scores in shown[0].models.items()]
    words = "; ".join(
        f"{name} "
        + ", ".join(f"{percent(levels.coverages[place])}: {percent(risk[place].value or 0, 1)}" for place in at)
        for name, risk in risks
    )
    marked = "" if sets is None else f" Cross: answers whose prediction set holds one class only ({sets.model})."
    return Figure(
        name="risk-coverage",
        caption="Risk-coverage curves: the most confident cases are answered, the others passed on. Band: pointwise "
        f"95 % interval of {lead}.{marked}",
        alt=f"Share of errors over the share of cases answered. Per image, at the coverages given: {words}.",
        svg=render(paint, height=2.6 + key_height(looks), width=WIDTH if len(shown) > 1 else 0.65 * WIDTH),
    )


def _draw(axes: Axes, coverages: Sequence[float], level: Level, looks: Mapping[str, ModelLook], lead: str) -> None:
    for name, look in looks.items():
        risk = level.models[name].risk
        if name == lead:
            low, high = _numbers([at.low for at in risk]), _numbers([at.high for at in risk])
            axes.fill_between(coverages, low, high, color=look.colour, alpha=0.18, linewidth=0)
        values = _numbers([at.value for at in risk])
        axes.plot(coverages, values, color=look.colour, linewidth=1.8 if name == lead else 0.8 * line_width(look))
    axes.set(xlim=(0, 1), xlabel="coverage: share of cases answered")
    axes.set_ylim(bottom=0)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    axes.grid(visible=True)


def _mark(axes: Axes, sets: SetCoverage, looks: Mapping[str, ModelLook]) -> None:
    """Show what becomes of the answers whose set holds one class only; lesions count once there, too."""
    scores = sets.methods[sets.deployed]
    if scores.single.value is None or scores.single_right.value is None:
        return
    across, up = scores.single.value, 1 - scores.single_right.value
    axes.plot(
        [across], [up], linestyle="", marker="X", markersize=8, color=looks[sets.model].colour, markeredgecolor=INK
    )


def _numbers(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values])
