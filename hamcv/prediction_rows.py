"""The columns of the table that `hamcv predict` writes."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from ensemble import Prediction


def columns(classes: Sequence[str]) -> list[str]:
    """Return the names of the columns: what is said of an image, then one probability a class."""
    return ["image", "label", "prediction_set", "spread", *classes]


def row(path: Path, prediction: Prediction) -> list[object]:
    """Return the fields of one image, in the order of `columns`; probabilities with all digits, spread in nats."""
    # Names of classes may hold blanks; those are quoted, all others stand as they are.
    sets = shlex.join(prediction.prediction_set)
    return [path, prediction.label, sets, prediction.spread, *prediction.probabilities.tolist()]
