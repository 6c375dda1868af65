"""The limits beyond which the predictor of a run gives a warning, and what they make of held-out images."""

from __future__ import annotations

from pathlib import Path

from cv_folds.out_of_fold import FoldLogits, OutOfFold, pool
from cv_folds.splits import VALIDATION
from cv_folds.training.fold_distances import FoldDistances
from cv_folds.training.record import (
    APPEARANCE_FILE,
    DISTANCES_FILE,
    FEATURES_FILE,
    LOGITS_FILE,
    VALIDATION_FILE,
    read_record,
)
from ensemble.held_out_warnings import HeldOutWarnings, warn_held_out, warn_test_part
from ensemble.outliers import OutlierRule, fit_outliers
from ensemble.pooled_distances import PooledDistances, pool_distances
from ensemble.stored_outliers import GaugeFiles
from hamcv.arms import Division, jobs_of_main
from hamcv.run_config import RunConfig

_NEEDED = {DISTANCES_FILE, FEATURES_FILE, APPEARANCE_FILE}


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
    fitting = _outputs(run, config, division, validation=division.folds.holdout)
    return fit_outliers(fitting, _distances(run, config), share=config.ensemble.outlier_share)


def held_out_warnings(run: Path, config: RunConfig, division: Division) -> HeldOutWarnings:
    """Tell which scored images would be warned of, by limits that had not seen them; arguments as `outlier_limits`."""
    scored = _outputs(run, config, division, validation=False)
    distances, share = _distances(run, config), config.ensemble.outlier_share
    if division.folds.holdout:
        return warn_test_part(_outputs(run, config, division, validation=True), scored, distances, share=share)
    return warn_held_out(scored, distances, share=share)


def gauge_files(run: Path, config: RunConfig) -> dict[tuple[str, int], GaugeFiles]:
    """Return where the distributions of each network's features lie, or would lie."""
    return {
        (job.backbone, job.fold): GaugeFiles(
            features=job.folder(run) / FEATURES_FILE, appearance=job.folder(run) / APPEARANCE_FILE
        )
        for job in jobs_of_main(config)
    }


def _outputs(run: Path, config: RunConfig, division: Division, *, validation: bool) -> OutOfFold:
    name, held_out = (VALIDATION_FILE, (VALIDATION,)) if validation else (LOGITS_FILE, None)
    parts = [FoldLogits.load(job.folder(run) / name) for job in jobs_of_main(config)]
    return pool(division.folds, parts, config.backbones, held_out=held_out)


def _distances(run: Path, config: RunConfig) -> PooledDistances | None:
    folders = [job.folder(run) for job in jobs_of_main(config)]
    records = [read_record(folder) for folder in folders]
    # Jobs of an earlier version did not store them, or not all.
    if not all(record is not None and record.files.keys() >= _NEEDED for record in records):
        return None
    return pool_distances([FoldDistances.load(folder / DISTANCES_FILE) for folder in folders], config.backbones)
