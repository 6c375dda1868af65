"""The limits beyond which the predictor of a run gives a warning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cv_folds.out_of_fold import FoldLogits, OutOfFold, pool
from cv_folds.splits import VALIDATION
from cv_folds.training.familiarity import FoldDistances
from cv_folds.training.record import APPEARANCE_FILE, DISTANCES_FILE, FEATURES_FILE, LOGITS_FILE, VALIDATION_FILE
from ensemble.outliers import OutlierRule, fit_outliers
from ensemble.pooled_distances import PooledDistances, pool_distances
from ensemble.stored_outliers import GaugeFiles
from hamcv.arms import Division, Job, jobs_of_main
from hamcv.config import RunConfig

_NEEDED = (DISTANCES_FILE, FEATURES_FILE, APPEARANCE_FILE)


def outlier_limits(run: Path, config: RunConfig, division: Division) -> OutlierRule:
    """Find the limits from the images that the networks of a run had not seen.

    Parameters
    ----------
    run : Path
        A run folder whose jobs are finished.
    config : RunConfig
        Its settings.
    division : Division
        Its main folds. Of a fixed division, the validation part gives the limits.

    Returns
    -------
    OutlierRule
        Without distances when a job of the run was done by a version that did not store them.

    Raises
    ------
    DataError
        When predictions or distances are missing, doubled or damaged.
    """
    jobs = jobs_of_main(config)
    return fit_outliers(
        _held_out(run, config, division, jobs), _distances(run, config, jobs), share=config.ensemble.outlier_share
    )


def gauge_files(run: Path, config: RunConfig) -> dict[tuple[str, int], GaugeFiles]:
    """Return where the distributions of each network's features lie, or would lie."""
    return {
        (job.backbone, job.fold): GaugeFiles(
            features=job.folder(run) / FEATURES_FILE, appearance=job.folder(run) / APPEARANCE_FILE
        )
        for job in jobs_of_main(config)
    }


def _held_out(run: Path, config: RunConfig, division: Division, jobs: Sequence[Job]) -> OutOfFold:
    holdout = division.folds.holdout
    name = VALIDATION_FILE if holdout else LOGITS_FILE
    parts = [FoldLogits.load(job.folder(run) / name) for job in jobs]
    return pool(division.folds, parts, config.backbones, held_out=(VALIDATION,) if holdout else None)


def _distances(run: Path, config: RunConfig, jobs: Sequence[Job]) -> PooledDistances | None:
    folders = [job.folder(run) for job in jobs]
    # A run may be of an earlier version, or packed without its weights and with them the features.
    if not all((folder / name).is_file() for folder in folders for name in _NEEDED):
        return None
    return pool_distances([FoldDistances.load(folder / DISTANCES_FILE) for folder in folders], config.backbones)
