"""Training curves of one backbone, a thin line a fold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from cv_folds.arrays import FloatArray
from reports.document import Figure
from reports.figures.style import MUTED, ModelLook, file_name, render
from reports.run_folder import JobHistory
from reports.wording import listing


def training_figure(histories: Sequence[JobHistory], look: ModelLook, *, holdout: bool = False) -> Figure:
    """Draw loss and validation balanced accuracy by epoch.

    Parameters
    ----------
    histories : sequence of JobHistory
        The finished jobs of one backbone, at least one.
    look : ModelLook
        How the backbone is drawn.
    holdout : bool
        Whether there was one fixed division.
    """
    backbone = histories[0].backbone
    validation = "validation part" if holdout else "inner validation"

    def paint(canvas: Canvas) -> None:
        loss, accuracy = canvas.add_subplot(1, 2, 1), canvas.add_subplot(1, 2, 2)
        for job in histories:
            # A line of one point is none.
            point = "." if len(job.epochs) == 1 else ""
            loss.plot(job.epochs, job.train_loss, color=MUTED, linewidth=0.8, linestyle=(0, (3, 1.5)), marker=point)
            _fold_line(loss, job, job.validation_loss, look)
            _fold_line(accuracy, job, job.validation_balanced_accuracy, look)
        loss.plot([], [], color=MUTED, linewidth=0.8, linestyle=(0, (3, 1.5)), label="training")
        loss.plot([], [], color=look.colour, linewidth=0.9, label=validation)
        loss.plot([], [], color=look.colour, marker="o", markersize=4, linestyle="", label="kept epoch")
        loss.legend(loc="best")
        loss.set_title("loss")
        accuracy.set_title(f"balanced accuracy, {validation}")
        for axes in (loss, accuracy):
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
            axes.margins(x=0.03)
            axes.grid(visible=True, axis="y")

    chosen = [
        f"{'' if holdout else f'fold {job.fold}: '}{job.details.best_epoch} of {job.details.epochs_run}"
        for job in histories
    ]
    return Figure(
        name=file_name("training", backbone),
        caption=f"Training of {backbone}{'' if holdout else ': a line a fold'}. The dot marks the epoch whose weights "
        f"were kept; the {'test part' if holdout else 'held-out fold'} had no say in that.",
        alt=f"Training curves of {backbone}. Kept epoch: {listing(chosen)}.",
        svg=render(paint, height=2.1),
    )


def _fold_line(axes: Axes, job: JobHistory, values: FloatArray, look: ModelLook) -> None:
    axes.plot(job.epochs, values, color=look.colour, linewidth=0.9)
    chosen = np.flatnonzero(job.epochs == job.details.best_epoch)
    axes.plot(job.epochs[chosen], values[chosen], color=look.colour, marker="o", markersize=4, linestyle="")
