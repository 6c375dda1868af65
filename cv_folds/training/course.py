"""What a training has seen of itself so far: one row an epoch, and which epoch was best."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class EpochRow:
    """One row of ``history.csv``."""

    epoch: int
    """Counted from 1."""
    learning_rate: float
    """At the end of the epoch."""
    train_loss: float
    """Mean cross-entropy of the resampled, augmented training images, label smoothing included."""
    validation_loss: float
    """Cross-entropy of the validation images at the class shares of training and the best temperature (`refinement`);
    the epoch where it is least is kept."""
    validation_balanced_accuracy: float
    """Mean recall over the classes that the validation images hold."""
    weights: Literal["last", "average"]
    """The weights that both validation figures are of: the better of the last step's and their moving average."""
    seconds: float
    """Wall time of the epoch, validation included."""
    images_per_second: float
    """Training images by the seconds spent on them."""


@dataclass(kw_only=True)
class Course:
    """Where a training stands."""

    rows: list[EpochRow] = field(default_factory=list)
    """One a finished epoch."""
    best_epoch: int = 0
    """The epoch with the least validation loss so far, counted from 1."""
    least: float = math.inf
    """Its validation loss."""

    def add(self, row: EpochRow) -> bool:
        """Add an epoch and tell whether it is the best so far."""
        self.rows.append(row)
        if row.validation_loss >= self.least:
            return False
        self.least, self.best_epoch = row.validation_loss, row.epoch
        return True

    def ended(self, *, epochs: int, patience: int) -> bool:
        """Tell whether all epochs are done or nothing got better for too long."""
        done = len(self.rows)
        return done >= epochs or (done > 0 and done - self.best_epoch >= patience)

    def plain(self) -> list[dict[str, Any]]:
        """Return the rows for JSON."""
        return [asdict(row) for row in self.rows]

    @staticmethod
    def from_plain(rows: list[dict[str, Any]]) -> Course:
        """Return the course that `plain` described."""
        course = Course()
        for row in rows:
            course.add(EpochRow(**row))
        return course
