"""How much of a score was the split: the same models on folds of images and on folds of lesions."""

from __future__ import annotations

import numpy as np

from cv_folds.arrays import FloatArray, IntArray, StrArray
from ensemble.predictions import Predictions
from reports.intervals import bootstrap, percentile_interval
from reports.metrics import OVERALL_METRICS, score_images
from reports.paired import on_side, side_by_side
from reports.results import Estimate, InflatedScore, Inflation
from reports.settings import ReportSettings

_GROUPED, _IMAGE_LEVEL = "grouped", "image-level"


def measure_inflation(
    grouped: Predictions, image_level: Predictions, *, settings: ReportSettings, generator: np.random.Generator
) -> Inflation:
    """Compare the scores of the same models on both kinds of folds.

    Parameters
    ----------
    grouped : Predictions
        From folds that keep lesions together.
    image_level : Predictions
        Of the same images by the same models, from folds that do not.
    settings : ReportSettings
        How many resamples the intervals take.
    generator : numpy.random.Generator
        Source of the resamples.

    Returns
    -------
    Inflation
        Every difference is image-level minus grouped. Its interval is a percentile interval over resamples of lesions,
        in which both sides see the same lesions (a paired cluster bootstrap; Field and Welsh, J. R. Stat. Soc. B 69
        (2007) 369-390). It holds for the networks as trained: how far training again would move either side is not
        in it.

    Raises
    ------
    DataError
        When the two do not hold the same images and models.
    """
    both = side_by_side({_GROUPED: grouped, _IMAGE_LEVEL: image_level}, "the two kinds of folds")
    resampled = bootstrap(both, resamples=settings.resamples, generator=generator)
    points = {side: score_images(both.labels, rows).overall for side, rows in both.probabilities.items()}
    return Inflation(
        n_images=len(grouped.image_ids),
        n_shared=shared_with_training(image_level.groups, image_level.folds),
        models={
            model: {
                metric: _inflated(
                    float(points[on_side(model, _GROUPED)][metric][0]),
                    float(points[on_side(model, _IMAGE_LEVEL)][metric][0]),
                    resampled[on_side(model, _IMAGE_LEVEL)].overall[metric]
                    - resampled[on_side(model, _GROUPED)].overall[metric],
                )
                for metric in OVERALL_METRICS
            }
            for model in grouped.probabilities
        },
    )


def shared_with_training(groups: StrArray, folds: IntArray) -> int:
    """Return how many images have another image of their group in another fold."""
    folds_of: dict[str, set[int]] = {}
    for group, fold in zip(groups.tolist(), folds.tolist(), strict=True):
        folds_of.setdefault(group, set()).add(fold)
    return sum(len(folds_of[group]) > 1 for group in groups.tolist())


def _inflated(grouped: float, image_level: float, resampled: FloatArray) -> InflatedScore:
    low = None if np.isnan(grouped) else grouped
    high = None if np.isnan(image_level) else image_level
    if low is None or high is None:
        missing = Estimate(value=None, reason="undefined on one kind of folds")
        return InflatedScore(grouped=low, image_level=high, difference=missing)
    interval = percentile_interval(resampled)
    difference = Estimate(value=high - low, low=interval.low, high=interval.high, reason=interval.reason)
    return InflatedScore(grouped=low, image_level=high, difference=difference)
