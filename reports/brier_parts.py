"""The Brier score of one class taken apart: reliability, resolution, uncertainty, and what the bins hide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cv_folds.arrays import FloatArray
from reports.confusion_metrics import ratio


@dataclass(frozen=True, kw_only=True)
class BrierParts:
    """Parts of the Brier score of every class in r resamples.

    The score is ``reliability - resolution + uncertainty + within_variance - within_covariance``, exactly.
    """

    reliability: FloatArray
    """(r, c) mean squared gap between a bin's mean probability and its frequency; lower is better."""
    resolution: FloatArray
    """(r, c) mean squared distance of the bins' frequencies from the frequency of the class; higher is better."""
    uncertainty: FloatArray
    """(r, c) frequency of the class times that of the rest: of the data, not of the model."""
    within_variance: FloatArray
    """(r, c) mean squared distance of the probabilities from the mean of their bin."""
    within_covariance: FloatArray
    """(r, c) twice the mean product of that distance and of what happened less the frequency in the bin."""


def brier_parts(counts: FloatArray, hits: FloatArray, sums: FloatArray, squares: FloatArray) -> BrierParts:
    """Decompose the Brier score of every class over bins of its probability.

    Parameters
    ----------
    counts : (r, c, b) array of float64
        Images in each bin; at least one image in all.
    hits : (r, c, b) array of float64
        Images of the class in each bin.
    sums : (r, c, b) array of float64
        Sum of the probabilities in each bin.
    squares : (r, c, 2) array of float64
        Over all images: the sum of the squared probabilities, and that of the probabilities of images of the class.

    Returns
    -------
    BrierParts
        Murphy, J. Appl. Meteorol. 12 (1973) 595-600, with the two terms within bins that Stephenson, Coelho and
        Jolliffe, Weather Forecast. 23 (2008) 752-757 add: without them the parts only add up to the score when all
        probabilities in a bin are the same.
    """
    images = counts.sum(axis=2)
    share = hits.sum(axis=2) / images
    per_image = 1 / images

    def over_bins(numerators: FloatArray) -> FloatArray:
        mean: FloatArray = np.nan_to_num(ratio(numerators, counts), nan=0.0).sum(axis=2) * per_image
        return mean

    return BrierParts(
        reliability=over_bins((sums - hits) ** 2),
        resolution=over_bins((hits - counts * share[:, :, np.newaxis]) ** 2),
        uncertainty=share * (1 - share),
        within_variance=squares[:, :, 0] * per_image - over_bins(sums**2),
        within_covariance=2 * (squares[:, :, 1] * per_image - over_bins(sums * hits)),
    )
