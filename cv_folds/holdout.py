"""One fixed division into training, validation and test part, by lesion and stratified."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cv_folds.arrays import IntArray, StrArray, frozen
from cv_folds.data.dataset import LesionDataset
from cv_folds.errors import UsageError, list_rows
from cv_folds.splits import HOLDOUT_PARTS, Folds

N_PARTS = len(HOLDOUT_PARTS)


def make_holdout(
    dataset: LesionDataset, *, shares: Sequence[int], seed: int, groups: StrArray, strata: IntArray | None = None
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

    Returns
    -------
    Folds
        With `Folds.holdout`.

    Raises
    ------
    UsageError
        When a class has fewer than three groups.

    Notes
    -----
    Stratum by stratum, groups are dealt out from the largest to the smallest, those of one size in random order, each
    to the part that has the least of its share so far, of equals to the one with the larger share. Every stratum with
    at least three groups is in every part, and of its images no part has more than its share and one group.
    """
    assert len(shares) == N_PARTS
    assert all(share > 0 for share in shares)
    _refuse_few_groups(dataset, groups)
    strata = dataset.labels if strata is None else strata
    names, first, numbers, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    generator = np.random.default_rng(seed)
    share = np.asarray(shares, dtype=np.float64)
    by_share = np.argsort(-share, kind="stable")
    part_of_group = np.full(len(names), -1, dtype=np.int64)
    for stratum in np.unique(strata):
        # A group with several strata goes with that of its first image.
        members = generator.permutation(np.flatnonzero(strata[first] == stratum))
        filled = np.zeros(N_PARTS)
        for group in members[np.argsort(-sizes[members], kind="stable")]:
            part = by_share[np.argmin((filled / share)[by_share])]
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


def _refuse_few_groups(dataset: LesionDataset, groups: StrArray) -> None:
    few = [
        f"{name}: {count}"
        for label, name in enumerate(dataset.classes)
        if (count := len(np.unique(groups[dataset.labels == label]))) < N_PARTS
    ]
    if few:
        raise UsageError(
            f"--protocol holdout: every class needs a lesion in each of the {N_PARTS} parts, but these have fewer "
            f"lesions:\n{list_rows(few)}\nLeave out the class."
        )
