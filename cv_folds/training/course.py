"""What a training has seen of itself so far: one row an epoch, and which epoch was best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from cv_folds.training.monitor import ValidationFigures, shortfall
from cv_folds.training.settings import Monitor, PhaseSettings


@dataclass(frozen=True, kw_only=True)
class EpochRow:
    """One row of ``history.csv``."""

    epoch: int
    """Counted from 1 over all phases."""
    phase: int
    """The phase that it belongs to, counted from 1."""
    learning_rate: float
    """At the end of the epoch."""
    train_loss: float
    """Mean loss of the resampled, augmented training images, label smoothing and class weights included."""
    validation_loss: float
    """Cross-entropy of the validation images at the class shares of training and the best temperature
    (`refinement`)."""
    validation_balanced_accuracy: float
    """Mean recall over the classes that the validation images hold."""
    validation_weighted_loss: float
    """Cross-entropy of the validation images with all classes weighted alike."""
    validation_macro_f1: float
    """Mean F1 over the classes that the validation images hold."""
    weights: Literal["last", "average"]
    """The weights that the validation figures are of: the better of the last step's and their moving average."""
    seconds: float
    """Wall time of the epoch, validation included."""
    images_per_second: float
    """Training images by the seconds spent on them."""

    @property
    def figures(self) -> ValidationFigures:
        """What validation said."""
        return ValidationFigures(
            loss=self.validation_loss,
            weighted_loss=self.validation_weighted_loss,
            balanced_accuracy=self.validation_balanced_accuracy,
            macro_f1=self.validation_macro_f1,
        )


@dataclass(kw_only=True)
class Course:
    """Where a training stands."""

    monitor: Monitor
    """By what the epoch is chosen."""
    rows: list[EpochRow] = field(default_factory=list)
    """One a finished epoch."""
    best_epoch: int = 0
    """The best epoch so far, counted from 1 over all phases."""
    least: float = math.inf
    """Its `shortfall`."""

    def add(self, row: EpochRow) -> bool:
        """Add an epoch and tell whether it is the best so far."""
        self.rows.append(row)
        value = shortfall(row.figures, self.monitor)
        if value >= self.least and self.monitor != "last":
            return False
        self.least, self.best_epoch = value, row.epoch
        return True

    def coming_phase(self, phases: Sequence[PhaseSettings], *, patience: int) -> int | None:
        """Return the position in `phases` of the one that the next epoch belongs to; None when all are over.

        A phase is over when all its epochs are done, or when it went on for `patience` epochs without a better one.
        """
        if not self.rows:
            return 0
        number = self.rows[-1].phase
        done = sum(row.phase == number for row in self.rows)
        before = len(self.rows) - done
        over = done >= phases[number - 1].epochs or len(self.rows) - max(self.best_epoch, before) >= patience
        if not over:
            return number - 1
        return number if number < len(phases) else None

    def plain(self) -> list[dict[str, Any]]:
        """Return the rows for JSON."""
        return [asdict(row) for row in self.rows]

    @staticmethod
    def from_plain(rows: list[dict[str, Any]], monitor: Monitor) -> Course:
        """Return the course that `plain` described."""
        course = Course(monitor=monitor)
        for row in rows:
            course.add(EpochRow(**row))
        return course
