"""Distances from the training images: those of all jobs in one table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from cv_folds.arrays import FloatArray, IntArray, StrArray, duplicates, frozen, positions
from cv_folds.errors import DataError, list_rows
from cv_folds.training.fold_distances import FoldDistances


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
    """(n, n_backbones, 2) as `FeatureStatistics.distances` gives them, in features and in appearance."""

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
        columns = [_pairs(of_fold[name])[positions(of_fold[name].image_ids, first)] for name in backbones]
        rows.append(np.stack(columns, axis=1))
    image_ids = np.concatenate([np.empty(0, np.str_), *ids])
    if again := duplicates(image_ids.tolist()):
        raise DataError("images with distances in two folds:\n" + list_rows(again))
    return PooledDistances(
        image_ids=frozen(image_ids),
        folds=frozen(np.repeat(sorted(by_fold), [len(part) for part in ids]), np.int64),
        backbones=tuple(backbones),
        distances=frozen(np.concatenate([np.empty((0, len(backbones), 2)), *rows])),
    )


def _pairs(part: FoldDistances) -> FloatArray:
    pairs: FloatArray = np.stack([part.features, part.appearance], axis=1)
    return pairs
