"""What a run trains: one or several arms, each a division of the images with jobs of its own.

The main arm lies in the run folder itself and heads the reports. Any other lies in a folder below it, with the same
inside: ``folds.csv``, ``jobs/`` and ``predictions.csv``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cv_folds.arrays import StrArray
from cv_folds.data.dataset import LesionDataset
from cv_folds.splits import Folds, make_folds
from cv_folds.training.record import job_folder, job_name
from hamcv.config import RunConfig
from reports.run_folder import read_folds

FOLDS_FILE = "folds.csv"


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One division of the images that a run trains on."""

    name: str
    """Its folder below the run folder; empty for the main arm."""
    seed: int
    """Of its folds and trainings."""

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


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training of a run."""

    arm: Arm
    """On which division."""
    backbone: str
    """Of which network."""
    fold: int
    """Without which fold."""

    @property
    def title(self) -> str:
        """For messages."""
        return job_name(self.arm.name, self.backbone, self.fold)

    def folder(self, run: Path) -> Path:
        """Return where it writes."""
        return job_folder(self.arm.folder(run), self.backbone, self.fold)


def arms_of(config: RunConfig) -> tuple[Arm, ...]:
    """Return the arms of a run, the main one first."""
    return (Arm(name="", seed=config.seed),)


def jobs_of(config: RunConfig) -> tuple[Job, ...]:
    """Return all jobs of a run in the order of their numbers: by arm, then by backbone, then by fold."""
    return tuple(
        Job(arm=arm, backbone=backbone, fold=fold)
        for arm in arms_of(config)
        for backbone in config.backbones
        for fold in range(config.folds)
    )


def jobs_of_main(config: RunConfig) -> tuple[Job, ...]:
    """Return the jobs of the main arm, the only ones whose networks are deployed."""
    return tuple(job for job in jobs_of(config) if not job.arm.name)


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
    """
    return tuple(
        Division(arm=arm, folds=make_folds(dataset, n_folds=config.folds, seed=arm.seed, groups=groups))
        for arm in arms_of(config)
    )


def read_divisions(run: Path, config: RunConfig, classes: tuple[str, ...]) -> tuple[Division, ...]:
    """Read the folds of every arm back; missing and damaged files raise `DataError`."""
    return tuple(Division(arm=arm, folds=read_folds(arm.folder(run) / FOLDS_FILE, classes)) for arm in arms_of(config))
