"""The columns of the table that `hamcv predict` writes."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from ensemble import Prediction


def columns(classes: Sequence[str]) -> list[str]:
    """Return the names of the columns: what is said of an image, then one probability a class."""
    said = ["image", "label", "prediction_set", "mutual_information", "vote_entropy", "distance", "warning"]
    return [*said, *classes]


def row(image: str | Path, prediction: Prediction) -> list[object]:
    """Return the fields of one image, a path or an id, in the order of `columns`, numbers with all digits.

    Mutual information and vote entropy are in nats. A distance that is not known, and no warning, leave a blank.
    """
    # Names of classes may hold blanks; those are quoted, all others stand as they are.
    sets = shlex.join(prediction.prediction_set)
    return [
        image,
        prediction.label,
        sets,
        prediction.mutual_information,
        prediction.vote_entropy,
        prediction.distance,
        prediction.warning,
        *prediction.probabilities.tolist(),
    ]
