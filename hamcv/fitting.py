"""Fitting the ensembles of one arm of a run to the stored outputs of its jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cv_folds.arrays import FloatArray
from cv_folds.clinical import METADATA_FILE, read_clinical
from cv_folds.errors import DataError, list_rows
from cv_folds.out_of_fold import FoldLogits, OutOfFold, pool
from cv_folds.scheduling.threads import cpu_cores
from cv_folds.splits import VALIDATION
from cv_folds.training.record import LOGITS_FILE, VALIDATION_FILE, verified_record
from ensemble.crossfit import CrossFitted, cross_fit
from ensemble.deployed import Deployed, fit_deployed
from ensemble.holdout import fit_on_validation, predict_test_part
from hamcv.arms import Division, jobs_of, jobs_of_arm
from hamcv.run_config import RunConfig


@dataclass(frozen=True, kw_only=True)
class FittedArm:
    """The ensembles of one arm."""

    scored: CrossFitted
    """What they say about the images that are scored."""
    deploy: Callable[[], Deployed]
    """Fits the one that the predictor uses."""


def fit_arm(run: Path, config: RunConfig, division: Division, costs: FloatArray | None) -> FittedArm:
    """Pool the outputs of the jobs of an arm and fit all ensembles, without letting any see what it is scored on.

    Parameters
    ----------
    run : Path
        A run folder whose jobs are finished; nothing is written.
    config : RunConfig
        Its settings, or settings with fewer of its backbones.
    division : Division
        The arm.
    costs : (n_classes, n_classes) float64 or None
        For the decision rule ``costs``.

    Raises
    ------
    DataError
        When predictions are missing, doubled or damaged.
    """
    settings, power, workers = config.ensemble, config.training.balancing_power, cpu_cores()
    clinical = read_clinical(run / METADATA_FILE, division.folds.image_ids)
    oof = pooled(run, config, division)
    if division.folds.holdout:
        validation = pooled(run, config, division, VALIDATION_FILE, held_out=(VALIDATION,))
        return FittedArm(
            scored=predict_test_part(validation, oof, settings, power=power, clinical=clinical, workers=workers),
            deploy=partial(fit_on_validation, validation, settings, power=power, clinical=clinical, costs=costs),
        )
    scored = cross_fit(oof, settings, power=power, clinical=clinical, workers=workers)
    return FittedArm(
        scored=scored,
        deploy=partial(fit_deployed, oof, scored, settings, power=power, clinical=clinical, costs=costs),
    )


def refuse_unfinished(run: Path, config: RunConfig) -> None:
    """Raise `DataError` that lists the jobs which are not finished, or whose files are not those of their record."""
    lost = [job.title for job in jobs_of(config) if verified_record(job.folder(run), weights=False) is None]
    if lost:
        raise DataError(
            f"{run}: jobs that are unfinished or damaged; the same `hamcv run` trains them again:\n{list_rows(lost)}"
        )


def pooled(
    run: Path,
    config: RunConfig,
    division: Division,
    name: str = LOGITS_FILE,
    *,
    held_out: Sequence[int] | None = None,
) -> OutOfFold:
    """Return the outputs of all jobs of an arm, joined by image id."""
    parts = [FoldLogits.load(job.folder(run) / name) for job in jobs_of_arm(config, division.arm)]
    return pool(division.folds, parts, config.backbones, held_out=held_out)
