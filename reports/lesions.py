"""From predictions of images to predictions of lesions."""

from __future__ import annotations

import numpy as np

from cv_folds.arrays import FloatArray, IntArray, frozen
from ensemble.predictions import Predictions


def by_lesion(predictions: Predictions) -> Predictions | str:
    """Average the probabilities of the images of each lesion.

    Parameters
    ----------
    predictions : Predictions
        Of images.

    Returns
    -------
    Predictions or str
        One row a lesion, with the lesion id as image id too; or the reason why there are none.
    """
    lesions, first, lesion = np.unique(predictions.lesion_ids, return_index=True, return_inverse=True)
    labels = predictions.labels[first]
    if two := _names(lesions[np.unique(lesion[predictions.labels != labels[lesion]])].tolist()):
        return f"lesions with two diagnoses: {two}"
    groups = predictions.groups[first]
    if two := _names(lesions[np.unique(lesion[predictions.groups != groups[lesion]])].tolist()):
        return f"lesions in two groups: {two}"
    return Predictions(
        image_ids=lesions,
        lesion_ids=lesions,
        groups=groups,
        folds=predictions.folds[first],
        labels=labels,
        classes=predictions.classes,
        probabilities={model: _mean(rows, lesion) for model, rows in predictions.probabilities.items()},
        kinds=predictions.kinds,
    )


def _mean(rows: FloatArray, lesion: IntArray) -> FloatArray:
    sums = np.stack([np.bincount(lesion, weights=column) for column in rows.T], axis=1)
    return frozen(sums / np.bincount(lesion)[:, np.newaxis])


def _names(lesions: list[str]) -> str:
    return ", ".join(lesions[:3]) + (f" and {len(lesions) - 3} more" if len(lesions) > 3 else "")
