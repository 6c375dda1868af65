"""When an image is unlike those of the training: limits for its distance in feature space and the members' spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cv_folds.arrays import FloatArray, StrArray, frozen
from cv_folds.out_of_fold import OutOfFold
from ensemble.disagreement import spread_within_folds
from ensemble.lesion_quantile import lesion_quantile
from ensemble.pooled_distances import PooledDistances

LEAST_DISTANCE = 1e-6
"""Distances count at least this much before their logarithm is taken."""

LEAST_DEVIATION = 0.01
"""Logarithms of distances that differ less than this, by 1 % of the distance, are taken to differ by it."""


@dataclass(frozen=True, kw_only=True)
class LogScale:
    """How distances of one kind from one member are brought to a scale that all members share."""

    mean: float
    """Of the logarithms of the distances of the images that the member had not seen, each lesion counting once."""
    deviation: float
    """Their standard deviation; positive."""


@dataclass(frozen=True, kw_only=True)
class MemberScales:
    """The scales of one member."""

    features: LogScale
    """Of distances in what its logits are made of."""
    appearance: LogScale
    """Of distances in colours and texture."""

    def standardise(self, distances: FloatArray) -> FloatArray:
        """Return (n, 2) distances, in features and in appearance, in standard deviations from the means."""
        both = (self.features, self.appearance)
        mean, deviation = np.array([scale.mean for scale in both]), np.array([scale.deviation for scale in both])
        standardised: FloatArray = (_logs(distances) - mean) / deviation
        return standardised


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What few lesions of the training data exceed."""

    value: float
    """The largest value that calls for no warning."""
    beyond: float
    """Expected share of such lesions beyond it, the images of a lesion sharing its weight."""

    @property
    def words(self) -> str:
        """For warnings."""
        return f"{100 * (1 - self.beyond):.3g} % of training lesions are below {self.value:.3g}"


@dataclass(frozen=True, kw_only=True)
class OutlierRule:
    """When a warning is given."""

    scales: Mapping[tuple[str, int], MemberScales]
    """By backbone and fold, of every member; empty when no distances are known."""
    distance: Limit | None
    """Of `distance_of`; None when no distances are known."""
    spread: Limit | None
    """Of the members' spread within folds; None with one backbone, which has nobody to disagree with."""

    def distance_of(self, distances: FloatArray, members: Sequence[tuple[str, int]]) -> FloatArray:
        """Return the (n,) distances of images that are held against `distance`.

        Parameters
        ----------
        distances : (n, n_members, 2) float64
            In features and in appearance, as `FeatureStatistics.distances` gives them.
        members : sequence of (str, int)
            Backbone and fold of every member, in the order of the second axis.
        """
        columns = [self.scales[member].standardise(distances[:, column]) for column, member in enumerate(members)]
        return _larger_mean(np.stack(columns, axis=1))

    def warning(self, distance: float | None, spread: float) -> str | None:
        """Say what is unusual about an image in one sentence, or None.

        Parameters
        ----------
        distance : float or None
            Of `distance_of`; None when not known.
        spread : float
            Of `ensemble.disagreement.spread_within_folds`.
        """
        parts = []
        if distance is not None and self.distance is not None and distance > self.distance.value:
            parts.append(f"unlike the training images (distance {distance:.3g}, {self.distance.words})")
        if self.spread is not None and spread > self.spread.value:
            parts.append(f"the members disagree (spread {spread:.3g} nats, {self.spread.words})")
        return "; ".join(parts) or None


@dataclass(frozen=True, kw_only=True)
class Standardised:
    """Distances on the scale that all members share."""

    scales: Mapping[tuple[str, int], MemberScales]
    """By backbone and fold of the members."""
    distances: FloatArray
    """(n,) of each image, in standard deviations."""


def standardise(known: PooledDistances, groups: StrArray) -> Standardised:
    """Bring the distances of all members to one scale.

    Parameters
    ----------
    known : PooledDistances
        Of n images that the members had not seen.
    groups : (n,) str
        The lesion of each, which counts once for each member.
    """
    scales: dict[tuple[str, int], MemberScales] = {}
    standardised = np.empty_like(known.distances)
    for fold in np.unique(known.folds).tolist():
        rows = known.folds == fold
        _, group, sizes = np.unique(groups[rows], return_inverse=True, return_counts=True)
        for column, backbone in enumerate(known.backbones):
            distances, weights = known.distances[rows, column], 1 / sizes[group]
            scale = MemberScales(features=_scale(distances[:, 0], weights), appearance=_scale(distances[:, 1], weights))
            scales[backbone, fold] = scale
            standardised[rows, column] = scale.standardise(distances)
    return Standardised(scales=scales, distances=frozen(_larger_mean(standardised)))


def limit_of(values: FloatArray, groups: StrArray, share: float) -> Limit:
    """Return the limit that a share of new lesions is beyond.

    Parameters
    ----------
    values : (n,) float64
        Of images that the members had not seen; at least one.
    groups : (n,) str
        The lesion of each.
    share : float
        Above 0, below 1.

    Returns
    -------
    Limit
        With too few lesions for `share` the largest value, which one new lesion in as many is beyond.
    """
    if (value := lesion_quantile(values, groups, 1 - share)) is not None:
        return Limit(value=value, beyond=share)
    return Limit(value=float(values.max()), beyond=1 / (len(np.unique(groups)) + 1))


def fit_outliers(oof: OutOfFold, distances: PooledDistances | None, *, share: float) -> OutlierRule:
    """Find the limits from images that the members had not seen.

    Parameters
    ----------
    oof : OutOfFold
        The images, and what the members say about them.
    distances : PooledDistances, optional
        Holds the images of `oof` at least; None when the run has not stored any.
    share : float
        Of training lesions that would be warned of, by distance and by spread each.

    Returns
    -------
    OutlierRule

    Notes
    -----
    A new image has the members of all folds, and the mean over the folds varies less than the value of one fold that
    the limits come from: of new lesions like those of the training, somewhat fewer than `share` are warned of.
    """
    spread = limit_of(spread_of_fold(oof), oof.groups, share) if len(oof.backbones) > 1 else None
    if distances is None:
        return OutlierRule(scales={}, distance=None, spread=spread)
    assert distances.backbones == oof.backbones
    found = standardise(distances.take(oof.image_ids), oof.groups)
    return OutlierRule(scales=found.scales, distance=limit_of(found.distances, oof.groups, share), spread=spread)


def spread_of_fold(oof: OutOfFold) -> FloatArray:
    """Return the (n,) spread of the members that had not seen an image, in nats; 0 with one backbone."""
    return spread_within_folds(oof.logits[:, None, None])


def _logs(distances: FloatArray) -> FloatArray:
    logs: FloatArray = np.log(np.maximum(distances, LEAST_DISTANCE))
    return logs


def _scale(distances: FloatArray, weights: FloatArray) -> LogScale:
    logs = _logs(distances)
    mean = float(np.average(logs, weights=weights))
    deviation = float(np.sqrt(np.average((logs - mean) ** 2, weights=weights)))
    return LogScale(mean=mean, deviation=max(deviation, LEAST_DEVIATION))


def _larger_mean(standardised: FloatArray) -> FloatArray:
    """Average (n, n_members, 2) distances over the members and return the larger of both kinds.

    One is small where the other is large: networks do not look at what no lesion has, and statistics of colours do not
    know a lesion when they see one.
    """
    larger: FloatArray = standardised.mean(axis=1).max(axis=1)
    return larger
