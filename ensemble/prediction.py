"""What the ensemble says about one image."""

from __future__ import annotations

from dataclasses import dataclass

from cv_folds.arrays import FloatArray


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the ensemble says about one image."""

    label: str
    """The most probable class."""
    probabilities: FloatArray
    """(n_classes,) summing to 1."""
    classes: tuple[str, ...]
    """Class names in the order of `probabilities`."""
    spread: float
    """Disagreement of the members in nats: 0 when all say the same, at most ``log(n_classes)``."""
    prediction_set: tuple[str, ...]
    """The classes that cannot be ruled out, in column order; calibrated on cross-fitted predictions."""
