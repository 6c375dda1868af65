"""How far scores move when the cross-validation is repeated on other folds, with other seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cv_folds.arrays import FloatArray
from cv_folds.errors import DataError
from ensemble.predictions import Predictions
from reports.metrics import OVERALL_METRICS, score_images
from reports.results import RepeatedScore, Repeats


def spread_over_repeats(repetitions: Sequence[Predictions]) -> Repeats:
    """Score every repetition on all its images.

    Parameters
    ----------
    repetitions : sequence of Predictions
        Out-of-fold predictions of the same images by the same models, at least two.

    Returns
    -------
    Repeats
        The deviation describes how much a single cross-validation depends on its folds and random numbers. The
        repetitions share their images, so it is no standard error of the mean over new lesions (Bengio and
        Grandvalet, J. Mach. Learn. Res. 5 (2004) 1089-1105).

    Raises
    ------
    DataError
        When they do not hold the same images and models.
    """
    assert len(repetitions) > 1
    first = repetitions[0]
    for other in repetitions[1:]:
        if set(other.image_ids.tolist()) != set(first.image_ids.tolist()) or set(other.kinds) != set(first.kinds):
            raise DataError("the repetitions do not hold the same images and models; run `hamcv ensemble` again")
    return Repeats(
        n=len(repetitions),
        models={
            model: _scores([score_images(one.labels, one.probabilities[model]).overall for one in repetitions])
            for model in first.probabilities
        },
    )


def _scores(overall: Sequence[Mapping[str, FloatArray]]) -> dict[str, RepeatedScore]:
    return {metric: _score([float(values[metric][0]) for values in overall]) for metric in OVERALL_METRICS}


def _score(values: Sequence[float]) -> RepeatedScore:
    if np.isnan(values).any():
        kept = tuple(None if np.isnan(value) else value for value in values)
        return RepeatedScore(values=kept, mean=None, deviation=None)
    return RepeatedScore(values=tuple(values), mean=float(np.mean(values)), deviation=float(np.std(values, ddof=1)))
