"""Stratified folds over lesion groups, and the inner split that serves early stopping.

Promises, each tested over many seeds: every image is in exactly one fold; no group is in two; every class is
in every fold; the same seed gives the same folds on every machine.
"""

from __future__ import annotations

import csv
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from cv_folds.arrays import BoolArray, IntArray, StrArray, duplicates, frozen
from cv_folds.data.dataset import LesionDataset
from cv_folds.errors import DataError, UsageError, list_rows
from cv_folds.files import write_text
from cv_folds.held_out import fold_words, held_out_folds

HOLDOUT_PARTS = ("test", "validation", "train")
"""The numbers that `Folds.folds` has when it is one fixed division: the test part is fold 0, the only one held out."""

TEST, VALIDATION, TRAIN = range(len(HOLDOUT_PARTS))


@dataclass(frozen=True, kw_only=True)
class Folds:
    """Which image is held out in which fold, or which part of a fixed division it is in."""

    image_ids: StrArray
    """(n,) image ids, in the order of the dataset."""
    lesion_ids: StrArray
    """(n,) lesion ids as the data give them."""
    groups: StrArray
    """(n,) what must stay together: the lesion, or several merged lesions."""
    labels: IntArray
    """(n,) index into `classes`."""
    classes: tuple[str, ...]
    """Class names."""
    folds: IntArray
    """(n,) the fold that holds the image out, counted from 0."""
    n_folds: int
    """Number of folds, at least 2."""
    leaks: bool = False
    """Whether groups may stand in several folds; scores on such folds are too good."""
    holdout: bool = False
    """Whether this is one fixed division; the numbers of `folds` are then those of `HOLDOUT_PARTS`."""

    def __post_init__(self) -> None:
        if again := duplicates(self.image_ids.tolist()):
            raise DataError("image ids that occur more than once:\n" + list_rows(again))
        if not np.isin(self.folds, np.arange(self.n_folds)).all():
            raise DataError(f"fold numbers must lie between 0 and {self.n_folds - 1}")
        if not self.leaks and (torn := torn_groups(self.groups, self.folds)):
            raise DataError("groups that stand in more than one fold:\n" + list_rows(torn))
        for fold in range(self.n_folds):
            absent = set(range(len(self.classes))) - set(self.labels[self.folds == fold].tolist())
            if absent:
                names = ", ".join(self.classes[label] for label in sorted(absent))
                if self.holdout:
                    raise DataError(f"the {self.names[fold]} part has no image of {names}")
                raise DataError(f"fold {fold} has no image of {names}; use fewer folds")

    @property
    def held_out(self) -> tuple[int, ...]:
        """The folds that are held out, each by a training of its own."""
        return (TEST,) if self.holdout else tuple(range(self.n_folds))

    @property
    def names(self) -> tuple[str, ...]:
        """What the folds are called, by their number."""
        return HOLDOUT_PARTS if self.holdout else tuple(str(fold) for fold in range(self.n_folds))

    def table(self) -> list[dict[str, int]]:
        """Return a row a fold: the number of lesions, of images and of images of each class."""
        rows = []
        for fold in range(self.n_folds):
            inside = self.folds == fold
            counts = np.bincount(self.labels[inside], minlength=len(self.classes)).tolist()
            row = {"fold": fold, "lesions": len(np.unique(self.lesion_ids[inside])), "images": int(inside.sum())}
            rows.append(row | dict(zip(self.classes, counts, strict=True)))
        return rows

    def write_csv(self, path: Path) -> None:
        """Write `to_csv` atomically."""
        write_text(path, self.to_csv())

    def to_csv(self) -> str:
        """Return the columns ``image_id,lesion_id,group,label,fold``."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["image_id", "lesion_id", "group", "label", "fold"])
        names = [self.classes[label] for label in self.labels.tolist()]
        folds = [self.names[fold] for fold in self.folds.tolist()]
        columns = (self.image_ids.tolist(), self.lesion_ids.tolist(), self.groups.tolist(), names, folds)
        writer.writerows(zip(*columns, strict=True))
        return text.getvalue()


def torn_groups(groups: StrArray, folds: IntArray) -> list[str]:
    """Return the groups whose images stand in more than one fold, sorted."""
    pairs = {(group, fold) for group, fold in zip(groups.tolist(), folds.tolist(), strict=True)}
    seen: set[str] = set()
    torn: set[str] = set()
    for group, _ in pairs:
        (torn if group in seen else seen).add(group)
    return sorted(torn)


def make_folds(
    dataset: LesionDataset,
    *,
    n_folds: int,
    seed: int,
    groups: StrArray | None = None,
    strata: IntArray | None = None,
) -> Folds:
    """Split a dataset into stratified folds that never separate the images of a group.

    Parameters
    ----------
    dataset : LesionDataset
        What to split.
    n_folds : int
        Number of folds, at least 2.
    seed : int
        The same seed gives the same folds everywhere.
    groups : (n,) array of str, optional
        What must stay together; the lesion ids when not given.
    strata : (n,) array of int, optional
        What is spread evenly over the folds, as from `cv_folds.strata`; the diagnoses when not given.

    Returns
    -------
    Folds

    Raises
    ------
    UsageError
        When `n_folds` is below 2, or a class has fewer groups than folds.

    Notes
    -----
    `sklearn.model_selection.StratifiedGroupKFold` with shuffling. It leaves folds without a class silently
    when a class has fewer groups than folds, hence the check beforehand.
    """
    if n_folds < 2:
        raise UsageError(f"--folds {n_folds}: cross-validation needs at least 2 folds")
    groups = dataset.lesion_ids if groups is None else groups
    few = {
        name: count
        for label, name in enumerate(dataset.classes)
        if (count := len(np.unique(groups[dataset.labels == label]))) < n_folds
    }
    if few:
        rows = [f"{name}: {count} lesion{'s' if count > 1 else ''}" for name, count in few.items()]
        least = min(few.values())
        mend = f"Use --folds {least} or fewer, or leave out" if least > 1 else "Leave out"
        raise UsageError(
            f"--folds {n_folds}: every class needs at least one lesion in every fold, but these have fewer lesions "
            f"than folds:\n{list_rows(rows)}\n{mend} the class."
        )
    assignment = np.full(len(dataset), -1, dtype=np.int64)
    splitter = StratifiedGroupKFold(n_splits=n_folds, shuffle=True, random_state=seed)
    strata = dataset.labels if strata is None else strata
    with warnings.catch_warnings():
        # A stratum may be small; that every class is in every fold is looked at below.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for fold, (_, held_out) in enumerate(splitter.split(np.zeros(len(dataset)), strata, groups)):
            assignment[held_out] = fold
    return Folds(
        image_ids=dataset.image_ids,
        lesion_ids=dataset.lesion_ids,
        groups=frozen(groups),
        labels=dataset.labels,
        classes=dataset.classes,
        folds=frozen(assignment),
        n_folds=n_folds,
    )


def image_level_folds(
    dataset: LesionDataset, groups: StrArray, *, n_folds: int, seed: int, strata: IntArray | None = None
) -> Folds:
    """Split images into stratified folds as if each were a lesion of its own: what leaks, for comparison.

    Parameters
    ----------
    dataset : LesionDataset
        What to split.
    groups : (n,) array of str
        What belongs together; it has no say here, but goes into intervals and inner splits.
    n_folds : int
        Number of folds, at least 2 and at most the images of the rarest class.
    seed : int
        The same seed gives the same folds everywhere.
    strata : (n,) array of int, optional
        What is spread evenly over the folds; the diagnoses when not given.

    Returns
    -------
    Folds
        With `Folds.leaks`. `sklearn.model_selection.StratifiedKFold` with shuffling.
    """
    assignment = np.full(len(dataset), -1, dtype=np.int64)
    splitter = StratifiedKFold(n_splits=n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A stratum may be small, as in `make_folds`.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for fold, (_, held_out) in enumerate(
            splitter.split(np.zeros(len(dataset)), dataset.labels if strata is None else strata)
        ):
            assignment[held_out] = fold
    return Folds(
        image_ids=dataset.image_ids,
        lesion_ids=dataset.lesion_ids,
        groups=frozen(groups),
        labels=dataset.labels,
        classes=dataset.classes,
        folds=frozen(assignment),
        n_folds=n_folds,
        leaks=True,
    )


@dataclass(frozen=True, kw_only=True)
class InnerSplit:
    """The training images of one fold, divided for fitting and for early stopping; the held-out fold is in neither."""

    train: IntArray
    """Row numbers that the weights are fitted on."""
    validation: IntArray
    """Row numbers that the network is validated on after every epoch."""


def inner_split(folds: Folds, fold: int, *, second: int | None = None, parts: int, seed: int) -> InnerSplit:
    """Set one lesion-grouped, stratified part in `parts` of the training folds aside for early stopping.

    Parameters
    ----------
    folds : Folds
        The outer folds.
    fold : int
        The fold that is held out; none of its images is returned.
    second : int, optional
        Another fold that is held out too, with a larger number.
    parts : int
        8 sets an eighth aside.
    seed : int
        Seed of the whole run; each fold, and each pair, derives its own from it.

    Returns
    -------
    InnerSplit
        A class with a single group outside them stays in `train`, so that no class is ever unknown to the
        model; `validation` may then miss that class. No group is in both parts. Of a fixed division, its own
        training and validation parts.

    Raises
    ------
    UsageError
        When there are fewer than `parts` lesions, or no class with as many images, to divide.
    """
    if folds.holdout:
        assert fold == TEST
        assert second is None
        return InnerSplit(
            train=frozen(np.flatnonzero(folds.folds == TRAIN)),
            validation=frozen(np.flatnonzero(folds.folds == VALIDATION)),
        )
    held_out = held_out_folds(fold, second)
    outside = np.flatnonzero(~np.isin(folds.folds, held_out))
    single = _groups_alone_in_their_class(folds, outside)
    divisible = outside[~single]
    n_lesions = len(np.unique(folds.groups[divisible]))
    if min(n_lesions, np.bincount(folds.labels[divisible], minlength=1).max()) < parts:
        raise UsageError(
            f"training.validation_parts = {parts}: outside {fold_words(held_out)} there are only {n_lesions} lesions "
            f"with {len(divisible)} images to divide; set a smaller number or use more lesions"
        )
    splitter = StratifiedGroupKFold(n_splits=parts, shuffle=True, random_state=_split_seed(seed, held_out))
    with warnings.catch_warnings():
        # A class with fewer lesions than parts is expected here: it is then absent from some parts, not from `train`.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        _, chosen = next(splitter.split(divisible, folds.labels[divisible], folds.groups[divisible]))
    validation = divisible[chosen]
    train = np.setdiff1d(outside, validation)
    assert set(folds.labels[outside].tolist()) == set(folds.labels[train].tolist())
    assert not set(folds.groups[train].tolist()) & set(folds.groups[validation].tolist())
    return InnerSplit(train=frozen(train), validation=frozen(validation))


def _groups_alone_in_their_class(folds: Folds, rows: IntArray) -> BoolArray:
    """Mark all rows of the groups that are the only one of some class, their rows of other classes too."""
    labels, groups = folds.labels[rows], folds.groups[rows]
    alone = np.zeros(len(rows), dtype=np.bool_)
    for label in range(len(folds.classes)):
        of_class = np.unique(groups[labels == label])
        if len(of_class) == 1:
            alone |= groups == of_class[0]
    return alone


def _split_seed(seed: int, held_out: tuple[int, ...]) -> int:
    return int(np.random.SeedSequence([seed, *held_out]).generate_state(1)[0])
