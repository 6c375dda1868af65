"""What a run trains: one or several arms, each a division of the images with jobs of its own.

The main arm lies in the run folder itself and heads the reports. Any other lies in a folder below it, with the same
inside: ``folds.csv``, ``jobs/`` and ``predictions.csv``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from cv_folds.arrays import StrArray
from cv_folds.data.dataset import LesionDataset
from cv_folds.errors import DataError, list_rows
from cv_folds.fold_file import read_fold_file
from cv_folds.held_out import fold_pairs
from cv_folds.leakage import measure_leakage
from cv_folds.splits import TEST, Folds, torn_groups
from cv_folds.training.record import job_folder, job_name
from hamcv.folding import stratified_folds, stratified_holdout, stratified_image_level_folds
from hamcv.run_config import RunConfig
from reports.run_folder import read_folds

FOLDS_FILE = "folds.csv"


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One division of the images that a run trains on."""

    name: str
    """Its folder below the run folder; empty for the main arm."""
    seed: int
    """Of its folds and trainings."""
    kind: Literal["main", "repetition", "image-level"] = "main"
    """What it is for."""

    def folder(self, run: Path) -> Path:
        """Return where its files lie."""
        return run / self.name


@dataclass(frozen=True, kw_only=True)
class Division:
    """An arm with its folds."""

    arm: Arm
    """Which one."""
    folds: Folds
    """Its folds."""
    notes: tuple[str, ...] = ()
    """What a person should know about how they were made, for the log."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training of a run."""

    arm: Arm
    """On which division."""
    backbone: str
    """Of which network."""
    fold: int
    """Without which fold."""
    second: int | None = None
    """Without which other fold, for the nested estimate; None for a usual job."""

    @property
    def title(self) -> str:
        """For messages."""
        return job_name(self.arm.name, self.backbone, self.fold, self.second)

    def folder(self, run: Path) -> Path:
        """Return where it writes."""
        return job_folder(self.arm.folder(run), self.backbone, self.fold, self.second)


def arms_of(config: RunConfig) -> tuple[Arm, ...]:
    """Return the arms of a run, the main one first."""
    main = Arm(name="", seed=config.seed)
    if config.protocol == "leakage":
        # The same seed: the folds shall be all that differs.
        return (main, Arm(name="image-level", seed=config.seed, kind="image-level"))
    repetitions = (
        Arm(name=f"repeats/{number}", seed=_seed_of(config.seed, number), kind="repetition")
        for number in range(1, config.repeats)
    )
    return (main, *repetitions)


def _seed_of(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number, 1]).generate_state(1)[0])


def jobs_of(config: RunConfig) -> tuple[Job, ...]:
    """Return all jobs of a run in the order of their numbers: by arm, then by backbone, then by fold.

    Those of the nested estimate come last, so that it changes no number when it is added to a run.
    """
    return (*(job for arm in arms_of(config) for job in jobs_of_arm(config, arm)), *jobs_of_pairs(config))


def jobs_of_arm(config: RunConfig, arm: Arm) -> tuple[Job, ...]:
    """Return the jobs of an arm that hold one fold out."""
    folds = (TEST,) if config.protocol == "holdout" else range(config.folds)
    return tuple(Job(arm=arm, backbone=backbone, fold=fold) for backbone in config.backbones for fold in folds)


def jobs_of_main(config: RunConfig) -> tuple[Job, ...]:
    """Return those jobs of the main arm, the only ones whose networks are deployed."""
    return jobs_of_arm(config, arms_of(config)[0])


def jobs_of_pairs(config: RunConfig) -> tuple[Job, ...]:
    """Return the jobs of the nested estimate, which hold two folds out; none without it."""
    main = arms_of(config)[0]
    return tuple(
        Job(arm=main, backbone=backbone, fold=fold, second=second)
        for backbone in config.backbones
        for fold, second in (fold_pairs(config.folds) if config.nested else ())
    )


def pairs_left_out(config: RunConfig, run: Path) -> bool:
    """Tell whether a run folder has jobs of a nested estimate that the settings do without."""
    if config.nested:
        return False
    return any(job.folder(run).is_dir() for job in jobs_of_pairs(config.model_copy(update={"nested": True})))


def divide(dataset: LesionDataset, groups: StrArray, config: RunConfig) -> tuple[Division, ...]:
    """Divide the images for every arm of a run.

    Parameters
    ----------
    dataset : LesionDataset
        What to divide.
    groups : (n,) array of str
        What must stay together.
    config : RunConfig
        The settings of the run.

    Raises
    ------
    UsageError
        When a class has fewer groups than folds.
    DataError
        When the file of folds does not fit the images, or leaks and may not.
    """
    return tuple(_divide(dataset, groups, config, arm) for arm in arms_of(config))


def _divide(dataset: LesionDataset, groups: StrArray, config: RunConfig, arm: Arm) -> Division:
    holdout = config.protocol == "holdout"
    if arm.kind == "image-level":
        folds = stratified_image_level_folds(
            dataset, groups, n_folds=config.folds, seed=arm.seed, stratify=config.stratify
        )
        return Division(arm=arm, folds=folds)
    if config.folds_file is not None:
        path = Path(config.folds_file)
        folds = read_fold_file(path, dataset, groups, n_folds=config.folds, holdout=holdout)
        notes = _about_leakage(path, folds, allowed=config.allow_leakage)
        return Division(arm=arm, folds=folds, notes=notes)
    if holdout:
        made = stratified_holdout(
            dataset, groups, split=config.split, seed=arm.seed, stratify=config.stratify, kind=config.holdout
        )
    else:
        made = stratified_folds(dataset, groups, n_folds=config.folds, seed=arm.seed, stratify=config.stratify)
    return Division(arm=arm, folds=made.folds, notes=(*made.notes, *_about_allowed(made.folds)))


def _about_allowed(folds: Folds) -> tuple[str, ...]:
    """Return the warning that goes with leaking folds."""
    leakage = measure_leakage(folds.groups, folds.folds)
    if leakage is None:
        return ()
    where = "parts" if folds.holdout else "folds"
    return (f"LEAKING FOLDS, as allowed: {leakage.words}, stand in several {where}; all scores are too good",)


def _about_leakage(path: Path, folds: Folds, *, allowed: bool) -> tuple[str, ...]:
    """Return the warning that leaking folds go with, or refuse them."""
    leakage = measure_leakage(folds.groups, folds.folds)
    if leakage is None:
        return ()
    if allowed:
        return _about_allowed(folds)
    what = "parts" if folds.holdout else "folds (counted from 0)"
    names = [name if folds.holdout else f"fold {name}" for name in folds.names]
    rows = []
    for group in torn_groups(folds.groups, folds.folds):
        inside = folds.groups == group
        images = zip(folds.image_ids[inside].tolist(), folds.folds[inside].tolist(), strict=True)
        rows.append(f"{group}: " + ", ".join(f"{image} in {names[fold]}" for image, fold in images))
    raise DataError(
        f"{path} leaks: {leakage.words}, stand in several {what}:\n{list_rows(rows, most=10)}\n"
        "Scores on these folds would be too good. `hamcv folds` makes folds without leakage; --allow-leakage uses "
        "these all the same, and every report then says so."
    )


def read_divisions(run: Path, config: RunConfig, classes: tuple[str, ...]) -> tuple[Division, ...]:
    """Read the folds of every arm back; missing and damaged files raise `DataError`."""
    return tuple(
        Division(
            arm=arm,
            folds=read_folds(
                arm.folder(run) / FOLDS_FILE, classes, leaks=config.allow_leakage or arm.kind == "image-level"
            ),
        )
        for arm in arms_of(config)
    )
