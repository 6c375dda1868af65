"""The one way from a dataset to its groups and folds, used by every command that shows, writes or trains on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cv_folds.arrays import StrArray
from cv_folds.data.dataset import LesionDataset
from cv_folds.holdout import make_holdout
from cv_folds.leakage import ImagePair, identical_images, merge_groups
from cv_folds.splits import Folds, make_folds
from cv_folds.strata import Strata, StratumColumn, make_strata

_MOST_NAMED = 8


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
    notes: tuple[str, ...]
    """What a person should know about how the folds were made."""


@dataclass(frozen=True, kw_only=True)
class StratifiedFolds:
    """Folds, and which combinations were too rare to be spread over them."""

    folds: Folds
    """Stratified, over groups of lesions."""
    notes: tuple[str, ...]
    """One sentence when combinations fell back to their diagnosis."""


def group(dataset: LesionDataset) -> Grouping:
    """Merge lesions that share an image.

    Raises
    ------
    DataError
        When identical images have different diagnoses.
    """
    merged = identical_images(dataset)
    return Grouping(groups=merge_groups(dataset.lesion_ids, merged), merged=merged)


def split(dataset: LesionDataset, *, n_folds: int, seed: int, stratify: Sequence[StratumColumn] = ()) -> Split:
    """Merge lesions that share an image and make the folds.

    Parameters
    ----------
    dataset : LesionDataset
        What to split.
    n_folds : int
        Number of folds.
    seed : int
        The same seed gives the same folds everywhere.
    stratify : sequence of str
        Columns to stratify by, beside the diagnosis.

    Raises
    ------
    DataError
        When identical images have different diagnoses.
    UsageError
        When a class has fewer groups than folds.
    """
    grouping = group(dataset)
    made = stratified_folds(dataset, grouping.groups, n_folds=n_folds, seed=seed, stratify=stratify)
    return Split(folds=made.folds, merged=grouping.merged, notes=made.notes)


def stratified_folds(
    dataset: LesionDataset, groups: StrArray, *, n_folds: int, seed: int, stratify: Sequence[StratumColumn]
) -> StratifiedFolds:
    """Make folds over groups, as evenly as they go by diagnosis and the columns of `stratify`.

    Parameters
    ----------
    dataset : LesionDataset
        What to split.
    groups : (n,) array of str
        What must stay together.
    n_folds : int
        Number of folds.
    seed : int
        The same seed gives the same folds everywhere.
    stratify : sequence of str
        Columns to stratify by, beside the diagnosis.

    Raises
    ------
    UsageError
        When a class has fewer groups than folds.
    """
    strata = make_strata(dataset, groups, stratify, fewest=n_folds)
    folds = make_folds(dataset, n_folds=n_folds, seed=seed, groups=groups, strata=strata.labels)
    return StratifiedFolds(folds=folds, notes=_about_rare(strata, stratify, n_folds, "folds"))


def stratified_holdout(
    dataset: LesionDataset,
    groups: StrArray,
    *,
    split: tuple[int, int, int],
    seed: int,
    stratify: Sequence[StratumColumn],
) -> StratifiedFolds:
    """Make one division into training, validation and test part, by diagnosis and the columns of `stratify`.

    Parameters
    ----------
    dataset, groups, seed, stratify
        As for `stratified_folds`.
    split : tuple of int
        Shares of training, validation and test, in this order.

    Raises
    ------
    UsageError
        When a class has fewer than three groups.
    """
    strata = make_strata(dataset, groups, stratify, fewest=len(split))
    train, validation, test = split
    shares = (test, validation, train)
    folds = make_holdout(dataset, shares=shares, seed=seed, groups=groups, strata=strata.labels)
    return StratifiedFolds(folds=folds, notes=_about_rare(strata, stratify, len(split), "parts"))


def _about_rare(strata: Strata, stratify: Sequence[StratumColumn], fewest: int, what: str) -> tuple[str, ...]:
    if not strata.rare:
        return ()
    sentence = (
        f"stratified by diagnosis alone where a combination of diagnosis, {', '.join(stratify)} has fewer lesions than "
        f"there are {what} ({fewest}): {'; '.join(strata.rare[:_MOST_NAMED])}"
    )
    if len(strata.rare) > _MOST_NAMED:
        sentence += f"; and {len(strata.rare) - _MOST_NAMED} more combinations"
    return (sentence,)
