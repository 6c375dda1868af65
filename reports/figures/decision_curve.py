"""Decision curves: net benefit over threshold probability, of the models, of calling all and of calling none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import PercentFormatter

from reports.document import Figure
from reports.figures.style import INK, MUTED, WIDTH, ModelLook, key_height, line_width, model_key, render
from reports.levels import Level, Levels
from reports.results import Estimate
from reports.wording import NOT_AVAILABLE, number, percent

SAID = (0.1, 0.2, 0.5)
"""Thresholds whose net benefit is in the text alternative."""


def decision_curve_figure(levels: Levels, looks: Mapping[str, ModelLook], lead: str) -> Figure:
    """Draw the net benefit per image and, where there are lesions, per lesion.

    Parameters
    ----------
    levels : Levels
        The net benefit of every model at every threshold; there are malignant images.
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
            _draw(axes, levels.thresholds, level, looks, lead)
            axes.set_title(f"per {level.unit}")
            if place == 0:
                axes.set_ylabel("net benefit")

    at = [levels.thresholds.index(threshold) for threshold in SAID]
    words = ", ".join(f"{percent(levels.thresholds[place])} {_value(shown[0], lead, place)}" for place in at)
    everyone = ", ".join(f"{percent(levels.thresholds[place])} {_all(shown[0].treat_all[place])}" for place in at)
    return Figure(
        name="decision-curves",
        caption=f"Decision curves for malignant against benign. Band: pointwise 95 % interval of {lead}. Dotted: "
        "calling every case malignant; the line at 0: calling none.",
        alt=f"Net benefit over threshold probability, one line a model. Of {lead} per image at {words}; of calling "
        f"every image malignant at {everyone}.",
        svg=render(paint, height=2.6 + key_height(looks), width=WIDTH if len(shown) > 1 else 0.65 * WIDTH),
    )


def _draw(axes: Axes, thresholds: Sequence[float], level: Level, looks: Mapping[str, ModelLook], lead: str) -> None:
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.plot(thresholds, _numbers(level.treat_all), color=MUTED, linewidth=1.0, linestyle=(0, (1, 1.2)))
    for name, look in looks.items():
        benefit = level.models[name].net_benefit
        if name == lead:
            low, high = _numbers([at.low for at in benefit]), _numbers([at.high for at in benefit])
            axes.fill_between(thresholds, low, high, color=look.colour, alpha=0.18, linewidth=0)
        values = _numbers([at.value for at in benefit])
        axes.plot(thresholds, values, color=look.colour, linewidth=1.8 if name == lead else 0.8 * line_width(look))
    # The line of calling everything malignant falls far below what anybody would choose.
    top = max(level.n_malignant / level.n, 0.01)
    axes.set(xlim=(0, thresholds[-1]), ylim=(-0.2 * top, 1.08 * top), xlabel="threshold probability")
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    axes.grid(visible=True)


def _numbers(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values])


def _value(level: Level, model: str, place: int) -> str:
    estimate: Estimate = level.models[model].net_benefit[place]
    return _all(estimate.value)


def _all(value: float | None) -> str:
    return NOT_AVAILABLE if value is None else number(value)
