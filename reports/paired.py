"""Two sets of predictions of the same images by the same models, laid side by side for paired differences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cv_folds.arrays import FloatArray, frozen, positions
from cv_folds.errors import DataError
from ensemble.predictions import ModelKind, Predictions


def side_by_side(sides: Mapping[str, Predictions], what: str) -> Predictions:
    """Put the models of several tables into one, so that one bootstrap draws the same groups for all.

    Parameters
    ----------
    sides : mapping of str to Predictions
        Name of a side to its predictions; the first one gives the order of images and models, and the groups.
    what : str
        What the sides are, for the message.

    Returns
    -------
    Predictions
        With models named by `on_side`.

    Raises
    ------
    DataError
        When the sides do not hold the same images and models.
    """
    first = next(iter(sides.values()))
    probabilities: dict[str, FloatArray] = {}
    kinds: dict[str, ModelKind] = {}
    for side, table in sides.items():
        if set(table.image_ids.tolist()) != set(first.image_ids.tolist()) or set(table.kinds) != set(first.kinds):
            raise DataError(f"{what} do not hold the same images and models; run `hamcv ensemble` again")
        rows = positions(table.image_ids, first.image_ids)
        for model in first.probabilities:
            probabilities[on_side(model, side)] = frozen(table.probabilities[model][rows])
            kinds[on_side(model, side)] = first.kinds[model]
    return replace(first, probabilities=probabilities, kinds=kinds)


def on_side(model: str, side: str) -> str:
    """Return what a model is called in the common table."""
    return f"{model}/{side}"
