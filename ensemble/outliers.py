"""When an image is unlike those of the training: limits for its distance in feature space and the members' spread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cv_folds.arrays import FloatArray, IntArray, StrArray, duplicates, frozen, positions
from cv_folds.errors import DataError, list_rows
from cv_folds.out_of_fold import OutOfFold
from cv_folds.training.features import FoldDistances
from ensemble.disagreement import spread_within_folds
from ensemble.lesion_quantile import lesion_quantile

LEAST_DISTANCE = 1e-6
"""Distances count at least this much before their logarithm is taken."""

LEAST_DEVIATION = 0.01
"""Logarithms of distances that differ less than this, by 1 % of the distance, are taken to differ by it."""


@dataclass(frozen=True, kw_only=True)
class PooledDistances:
    """The distances of many images from the training images of networks that had not seen them."""

    image_ids: StrArray
    """(n,) image ids."""
    folds: IntArray
    """(n,) the fold that these networks were trained without."""
    backbones: tuple[str, ...]
    """In the order of the second axis of `distances`."""
    distances: FloatArray
    """(n, n_backbones) as `cv_folds.training.features.FeatureStatistics.distances` gives them."""

    def take(self, image_ids: StrArray) -> PooledDistances:
        """Return the rows of some images, in their order; `DataError` lists those that are not there."""
        if unknown := sorted(set(image_ids.tolist()) - set(self.image_ids.tolist())):
            raise DataError("images whose distance in feature space was not stored:\n" + list_rows(unknown))
        rows = positions(self.image_ids, image_ids)
        return PooledDistances(
            image_ids=self.image_ids[rows],
            folds=self.folds[rows],
            backbones=self.backbones,
            distances=self.distances[rows],
        )


def pool_distances(parts: Iterable[FoldDistances], backbones: Sequence[str]) -> PooledDistances:
    """Join the jobs' distances by image id.

    Parameters
    ----------
    parts : iterable of FoldDistances
        One for every backbone and fold, in any order.
    backbones : sequence of str
        Fixes the order of the columns.

    Raises
    ------
    DataError
        When a job is given twice, the jobs of a fold do not hold the same images, or an image is in two folds.
    """
    by_fold: dict[int, dict[str, FoldDistances]] = {}
    for part in parts:
        of_fold = by_fold.setdefault(part.fold, {})
        if part.backbone in of_fold:
            raise DataError(f"{part.backbone}, fold {part.fold}: distances given twice")
        of_fold[part.backbone] = part
    ids: list[StrArray] = []
    rows: list[FloatArray] = []
    for fold, of_fold in sorted(by_fold.items()):
        if set(of_fold) != set(backbones):
            raise DataError(f"fold {fold}: distances of {', '.join(sorted(of_fold))}, not of {', '.join(backbones)}")
        first = of_fold[backbones[0]].image_ids
        for part in of_fold.values():
            if set(part.image_ids.tolist()) != set(first.tolist()):
                raise DataError(f"{part.backbone}, fold {fold}: distances of other images than {backbones[0]}")
        ids.append(first)
        columns = [of_fold[name].distances[positions(of_fold[name].image_ids, first)] for name in backbones]
        rows.append(np.stack(columns, axis=1))
    image_ids = np.concatenate([np.empty(0, np.str_), *ids])
    if again := duplicates(image_ids.tolist()):
        raise DataError("images with distances in two folds:\n" + list_rows(again))
    return PooledDistances(
        image_ids=frozen(image_ids),
        folds=frozen(np.repeat(sorted(by_fold), [len(part) for part in ids]), np.int64),
        backbones=tuple(backbones),
        distances=frozen(np.concatenate([np.empty((0, len(backbones))), *rows])),
    )


@dataclass(frozen=True, kw_only=True)
class LogScale:
    """How the distances that one member gives are brought to the scale that all members share."""

    mean: float
    """Of the logarithms of the distances of the images that the member had not seen, each lesion counting once."""
    deviation: float
    """Their standard deviation; positive."""

    def standardise(self, distances: FloatArray) -> FloatArray:
        """Return distances of any shape in standard deviations from the mean."""
        logs = np.log(np.maximum(distances, LEAST_DISTANCE))
        standardised: FloatArray = (logs - self.mean) / self.deviation
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

    scales: Mapping[tuple[str, int], LogScale]
    """By backbone and fold, of every member; empty when no distances are known."""
    distance: Limit | None
    """Of the mean standardised distance; None when no distances are known."""
    spread: Limit | None
    """Of the members' spread within folds; None with one backbone, which has nobody to disagree with."""

    def warning(self, distance: float | None, spread: float) -> str | None:
        """Say what is unusual about an image in one sentence, or None.

        Parameters
        ----------
        distance : float or None
            Mean of the standardised distances over all members; None when not known.
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

    scales: Mapping[tuple[str, int], LogScale]
    """By backbone and fold of the members."""
    scores: FloatArray
    """(n,) mean over the backbones, in standard deviations."""


def standardise(known: PooledDistances, groups: StrArray) -> Standardised:
    """Bring the distances of all members to one scale.

    Parameters
    ----------
    known : PooledDistances
        Of n images that the members had not seen.
    groups : (n,) str
        The lesion of each, which counts once for each member.
    """
    scales: dict[tuple[str, int], LogScale] = {}
    standardised = np.empty_like(known.distances)
    for fold in np.unique(known.folds).tolist():
        rows = known.folds == fold
        _, group, sizes = np.unique(groups[rows], return_inverse=True, return_counts=True)
        for column, backbone in enumerate(known.backbones):
            scale = _scale(known.distances[rows, column], 1 / sizes[group])
            scales[backbone, fold] = scale
            standardised[rows, column] = scale.standardise(known.distances[rows, column])
    return Standardised(scales=scales, scores=frozen(standardised.mean(axis=1)))


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
    spread = limit_of(_spread(oof), oof.groups, share) if len(oof.backbones) > 1 else None
    if distances is None:
        return OutlierRule(scales={}, distance=None, spread=spread)
    assert distances.backbones == oof.backbones
    found = standardise(distances.take(oof.image_ids), oof.groups)
    return OutlierRule(scales=found.scales, distance=limit_of(found.scores, oof.groups, share), spread=spread)


def _spread(oof: OutOfFold) -> FloatArray:
    return spread_within_folds(oof.logits[:, None, None])


def _scale(distances: FloatArray, weights: FloatArray) -> LogScale:
    logs = np.log(np.maximum(distances, LEAST_DISTANCE))
    mean = float(np.average(logs, weights=weights))
    deviation = float(np.sqrt(np.average((logs - mean) ** 2, weights=weights)))
    return LogScale(mean=mean, deviation=max(deviation, LEAST_DEVIATION))
