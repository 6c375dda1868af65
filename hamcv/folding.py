"""The one way from a dataset to its groups and folds, used by every command that shows, writes or trains on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from cv_folds.arrays import StrArray
from cv_folds.data.cache import cache_root
from cv_folds.data.dataset import LesionDataset
from cv_folds.holdout import HoldoutKind, make_holdout, make_image_level_holdout
from cv_folds.near_duplicates.decisions import read_decisions
from cv_folds.near_duplicates.settings import AuditSettings
from cv_folds.scheduling.threads import cpu_cores
from cv_folds.shared_lesions import SharedLesions, find_shared_lesions
from cv_folds.splits import Folds, image_level_folds, make_folds
from cv_folds.strata import Strata, StratumColumn, make_strata
from hamcv.image_progress import search_progress

_MOST_NAMED = 8


@dataclass(frozen=True, kw_only=True)
class Split:
    """Folds, and what was merged before they were made."""

    folds: Folds
    """Stratified, over groups of lesions."""
    shared: SharedLesions
    """What was put into one group, and why."""
    notes: tuple[str, ...]
    """What a person should know about how the folds were made."""


@dataclass(frozen=True, kw_only=True)
class StratifiedFolds:
    """Folds, and which combinations were too rare to be spread over them."""

    folds: Folds
    """Stratified, over groups of lesions."""
    notes: tuple[str, ...]
    """One sentence when combinations fell back to their diagnosis."""


def group(
    dataset: LesionDataset,
    settings: AuditSettings,
    *,
    whole: LesionDataset | None = None,
    workers: int | None = None,
    console: Console | None = None,
) -> SharedLesions:
    """Merge lesions that share an image, that near-duplicates join, or that a person joined.

    Parameters
    ----------
    dataset : LesionDataset
        Whose lesions to merge.
    settings : AuditSettings
        Whether to search, and the files of decided pairs.
    whole : LesionDataset, optional
        The data that `dataset` is a part of, whose images the decisions may name.
    workers : int, optional
        Threads of the search; one a core when not given.
    console : rich.console.Console, optional
        For its progress.

    Raises
    ------
    DataError
        When identical images have different diagnoses, decisions are wrong, or images cannot be decoded.
    """
    decisions = read_decisions(settings, dataset if whole is None else whole)
    with search_progress(console) as on_step:
        return find_shared_lesions(
            dataset,
            decisions,
            search=settings.near_duplicates,
            root=cache_root(),
            workers=cpu_cores() if workers is None else workers,
            on_step=on_step,
        )


def split(
    dataset: LesionDataset,
    *,
    n_folds: int,
    seed: int,
    stratify: Sequence[StratumColumn] = (),
    audit: AuditSettings | None = None,
    whole: LesionDataset | None = None,
    console: Console | None = None,
) -> Split:
    """Merge lesions that are one and make the folds.

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
    audit : AuditSettings, optional
        How lesions are merged; with a search for near-duplicates when not given.
    whole : LesionDataset, optional
        The data that `dataset` is a part of, whose images the decisions may name.
    console : rich.console.Console, optional
        For the progress of the search.

    Raises
    ------
    DataError
        As for `group`.
    UsageError
        When a class has fewer groups than folds.
    """
    shared = group(dataset, AuditSettings() if audit is None else audit, whole=whole, console=console)
    made = stratified_folds(dataset, shared.groups, n_folds=n_folds, seed=seed, stratify=stratify)
    return Split(folds=made.folds, shared=shared, notes=made.notes)


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


def stratified_image_level_folds(
    dataset: LesionDataset, groups: StrArray, *, n_folds: int, seed: int, stratify: Sequence[StratumColumn]
) -> Folds:
    """Make folds of images for comparison with those of `stratified_folds`, by diagnosis and the same columns.

    Parameters
    ----------
    dataset, groups, n_folds, seed, stratify
        As for `stratified_folds`; the groups have no say in the division.
    """
    strata = make_strata(dataset, dataset.image_ids, stratify, fewest=n_folds)
    return image_level_folds(dataset, groups, n_folds=n_folds, seed=seed, strata=strata.labels)


def stratified_holdout(
    dataset: LesionDataset,
    groups: StrArray,
    *,
    split: tuple[int, int, int],
    seed: int,
    stratify: Sequence[StratumColumn],
    kind: HoldoutKind = "lesion",
) -> StratifiedFolds:
    """Make one division into training, validation and test part, by diagnosis and the columns of `stratify`.

    Parameters
    ----------
    dataset, groups, seed, stratify
        As for `stratified_folds`.
    split : tuple of int
        Shares of training, validation and test, in this order.
    kind : HoldoutKind
        What validation and test part are made of; ``image`` leaks.

    Raises
    ------
    UsageError
        When a class has too few groups, or images, for three parts.
    """
    strata = make_strata(dataset, groups, stratify, fewest=len(split))
    train, validation, test = split
    shares = (test, validation, train)
    if kind == "image":
        folds = make_image_level_holdout(dataset, shares=shares, seed=seed, groups=groups, strata=strata.labels)
    else:
        single = kind == "single_image"
        folds = make_holdout(
            dataset, shares=shares, seed=seed, groups=groups, strata=strata.labels, single_image=single
        )
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
