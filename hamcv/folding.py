"""The one way from a dataset to the folds of a run, used by every command that shows, writes or trains on them."""

from __future__ import annotations

from dataclasses import dataclass

from cv_folds.data.dataset import LesionDataset
from cv_folds.leakage import ImagePair, identical_images, merge_groups
from cv_folds.splits import Folds, make_folds


@dataclass(frozen=True, kw_only=True)
class Split:
    """Folds, and what was merged before they were made."""

    folds: Folds
    """Stratified, over groups of lesions."""
    merged: tuple[ImagePair, ...]
    """Identical images under different lesion ids."""


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
    merged = identical_images(dataset)
    groups = merge_groups(dataset.lesion_ids, merged)
    return Split(folds=make_folds(dataset, n_folds=n_folds, seed=seed, groups=groups), merged=merged)
