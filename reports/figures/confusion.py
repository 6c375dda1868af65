"""Confusion matrices: row-normalised colour, share and count in every cell."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure as Canvas

from reports.curves import ConfusionMatrix
from reports.document import Figure
from reports.figures.style import INK, file_name, label, render
from reports.wording import count, percent

# Not quite INK: the writers recolour INK for dark pages, but these cells stay light.
ON_LIGHT = "#1b1f25"
ON_DARK = "#ffffff"
RAMP = LinearSegmentedColormap.from_list("rates", ["#f4f7fb", "#9ec5e3", "#3d86c0", "#0b4a86"])


def confusion_figure(name: str, matrix: ConfusionMatrix, classes: tuple[str, ...]) -> Figure:
    """Draw the confusion matrix of one model.

    Parameters
    ----------
    name : str
        The model.
    matrix : ConfusionMatrix
        What is drawn.
    classes : tuple of str
        Class names in the order of the matrix.
    """
    n = len(classes)
    names = [label(class_name, 14) for class_name in classes]
    cell = 0.5 if n > 4 else 0.62
    margin = 0.35 + 0.062 * max(len(class_name) for class_name in names)

    def paint(canvas: Canvas) -> None:
        axes = canvas.add_subplot()
        shown = np.nan_to_num(matrix.rates, nan=0.0)
        axes.pcolormesh(shown, cmap=RAMP, vmin=0, vmax=1, edgecolors="#ffffff", linewidth=1.0)
        for row in range(n):
            for column in range(n):
                rate = float(matrix.rates[row, column])
                colour = ON_DARK if rate > 0.5 else ON_LIGHT
                share = "–" if math.isnan(rate) else percent(rate)
                weight = "bold" if row == column else "normal"
                axes.text(
                    column + 0.5, row + 0.40, share, ha="center", va="center", color=colour, weight=weight, size=7
                )
                images = count(int(matrix.counts[row, column]))
                axes.text(column + 0.5, row + 0.72, images, ha="center", va="center", color=colour, size=5.6)
        slanted = max(len(class_name) for class_name in names) > 6
        axes.set_xticks(
            np.arange(n) + 0.5,
            names,
            rotation=40 if slanted else 0,
            ha="right" if slanted else "center",
            rotation_mode="anchor" if slanted else "default",
        )
        axes.set_yticks(np.arange(n) + 0.5, names)
        axes.set(xlim=(0, n), ylim=(n, 0), aspect="equal", xlabel="predicted class", ylabel="true class")
        axes.tick_params(length=0, labelcolor=INK)
        for spine in axes.spines.values():
            spine.set_visible(False)

    return Figure(
        name=file_name("confusion", name),
        caption=f"Confusion matrix of {name}: share of the row (true class), and number of images.",
        alt=f"Confusion matrix of {name}. {_words(matrix, classes)}",
        svg=render(paint, height=cell * n + margin, width=cell * n + margin + 0.15),
    )


def _words(matrix: ConfusionMatrix, classes: tuple[str, ...]) -> str:
    sentences = []
    for row, class_name in enumerate(classes):
        rates = matrix.rates[row]
        if np.isnan(rates).any():
            sentences.append(f"{class_name}: no images.")
            continue
        others = [column for column in range(len(classes)) if column != row]
        worst = max(others, key=lambda column: float(rates[column]))
        sentences.append(
            f"{class_name}: {percent(float(rates[row]))} right, most often taken for {classes[worst]} "
            f"({percent(float(rates[worst]))})."
        )
    return " ".join(sentences)
