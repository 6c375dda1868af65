"""The one way from a dataset to its groups and folds, used by every command that shows, writes or trains on them."""

from __future__ import annotations

from dataclasses import dataclass

from cv_folds.arrays import StrArray
from cv_folds.data.dataset import LesionDataset
from cv_folds.leakage import ImagePair, identical_images, merge_groups
from cv_folds.splits import Folds, make_folds


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """What must stay together in every split, and why."""

    groups: StrArray
    """(n,) the lesion, or several merged lesions."""
    merged: tuple[ImagePair, ...]
    """Identical images under different lesion ids."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Folds, and what was merged before they were made."""

    folds: Folds
    """Stratified, over groups of lesions."""
    merged: tuple[ImagePair, ...]
    """Identical images under different lesion ids."""


def group(dataset: LesionDataset) -> Grouping:
    """Merge lesions that share an image.

    Raises
    ------
    DataError
        When identical images have different diagnoses.
    """
    merged = identical_images(dataset)
    return Grouping(groups=merge_groups(dataset.lesion_ids, merged), merged=merged)


def split(dataset: LesionDataset, *, n_folds: int, seed: int) -> Split:
    """Merge lesions that share an image and make the folds.

    Parameters
    ----------
    dataset : LesionDataset
        What to split.
    n_folds : int
        Number of folds.
    seed : int
        The same seed gives the same folds everywhere.

    Raises
    ------
    DataError
        When identical images have different diagnoses.
    UsageError
        When a class has fewer groups than folds.
    """
    grouping = group(dataset)
    folds = make_folds(dataset, n_folds=n_folds, seed=seed, groups=grouping.groups)
    return Split(folds=folds, merged=grouping.merged)
