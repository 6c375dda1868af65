"""One fixed division into training, validation and test part, stratified.

By lesion; or, to do again what others did, with only lesions of a single image in validation and test part, or by image
as if each were a lesion of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np

from cv_folds.arrays import BoolArray, IntArray, StrArray, frozen
from cv_folds.data.dataset import LesionDataset
from cv_folds.errors import UsageError, list_rows
from cv_folds.splits import HOLDOUT_PARTS, TRAIN, Folds

N_PARTS = len(HOLDOUT_PARTS)

HoldoutKind: TypeAlias = Literal["lesion", "single_image", "image"]
"""What validation and test part are made of: any lesions, those with a single image, or images of any."""


def make_holdout(
    dataset: LesionDataset,
    *,
    shares: Sequence[int],
    seed: int,
    groups: StrArray,
    strata: IntArray | None = None,
    single_image: bool = False,
) -> Folds:
    """Divide a dataset into three parts that never separate the images of a group.

    Parameters
    ----------
    dataset : LesionDataset
        What to divide.
    shares : sequence of int
        Parts of the images in the order of `HOLDOUT_PARTS`: test, validation, train; they need not add up to 100.
    seed : int
        The same seed gives the same parts everywhere.
    groups : (n,) array of str
        What must stay together.
    strata : (n,) array of int, optional
        What each part shall hold its share of; the diagnoses when not given.
    single_image : bool
        Put groups of several images into the training part.

    Returns
    -------
    Folds
        With `Folds.holdout`.

    Raises
    ------
    UsageError
        When a class has fewer than three groups, or with `single_image` fewer than two of one image.

    Notes
    -----
    Stratum by stratum, groups are dealt out from the largest to the smallest, those of one size in random order, each
    to the part that has the least of its share so far, of equals to the one with the larger share. Every stratum with
    at least three groups is in every part, and of its images no part has more than its share and one group. With
    `single_image` this holds for validation and test part, and the training part has what is left.
    """
    assert len(shares) == N_PARTS
    assert all(share > 0 for share in shares)
    _refuse_few_groups(dataset, groups, "lesion")
    strata = dataset.labels if strata is None else strata
    names, first, numbers, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    if single_image:
        _refuse_few_single_images(dataset, sizes[numbers] == 1)
    generator = np.random.default_rng(seed)
    share = np.asarray(shares, dtype=np.float64)
    by_share = np.argsort(-share, kind="stable")
    part_of_group = np.full(len(names), -1, dtype=np.int64)
    for stratum in np.unique(strata):
        # A group with several strata goes with that of its first image.
        members = generator.permutation(np.flatnonzero(strata[first] == stratum))
        filled = np.zeros(N_PARTS)
        for group in members[np.argsort(-sizes[members], kind="stable")]:
            part = TRAIN if single_image and sizes[group] > 1 else by_share[np.argmin((filled / share)[by_share])]
            part_of_group[group] = part
            filled[part] += sizes[group]
    return Folds(
        image_ids=dataset.image_ids,
        lesion_ids=dataset.lesion_ids,
        groups=frozen(groups),
        labels=dataset.labels,
        classes=dataset.classes,
        folds=frozen(part_of_group[numbers]),
        n_folds=N_PARTS,
        holdout=True,
    )


def make_image_level_holdout(
    dataset: LesionDataset, *, shares: Sequence[int], seed: int, groups: StrArray, strata: IntArray | None = None
) -> Folds:
    """Divide images as if each were a lesion of its own: what leaks, to do again what others did.

    Parameters
    ----------
    dataset, shares, seed, strata
        As for `make_holdout`.
    groups : (n,) array of str
        What belongs together; it has no say here, but goes into intervals.

    Returns
    -------
    Folds
        With `Folds.holdout` and `Folds.leaks`.

    Raises
    ------
    UsageError
        When a class has fewer than three images.
    """
    _refuse_few_groups(dataset, dataset.image_ids, "image")
    folds = make_holdout(dataset, shares=shares, seed=seed, groups=dataset.image_ids, strata=strata)
    return replace(folds, groups=frozen(groups), leaks=True)


def _refuse_few_groups(dataset: LesionDataset, groups: StrArray, unit: str) -> None:
    few = [
        f"{name}: {count}"
        for label, name in enumerate(dataset.classes)
        if (count := len(np.unique(groups[dataset.labels == label]))) < N_PARTS
    ]
    if few:
        raise UsageError(
            f"--protocol holdout: every class needs one {unit} or more in each of the {N_PARTS} parts, but these have "
            f"fewer {unit}s:\n{list_rows(few)}\nLeave out the class."
        )


def _refuse_few_single_images(dataset: LesionDataset, alone: BoolArray) -> None:
    few = [
        f"{name}: {count}"
        for label, name in enumerate(dataset.classes)
        if (count := int(alone[dataset.labels == label].sum())) < N_PARTS - 1
    ]
    if few:
        raise UsageError(
            "holdout = single_image: every class needs a lesion with a single image in the validation and in the test "
            f"part, but these have fewer such lesions:\n{list_rows(few)}\nLeave out the class, or set "
            "holdout = lesion."
        )
