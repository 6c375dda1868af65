"""From the trained networks of a run and a fitted ensemble to a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import hamcv
from cv_folds.images import DECODER
from cv_folds.leakage import Leakage
from cv_folds.training.pixels import IMAGENET, Normalisation
from cv_folds.training.record import MODEL_FILE, read_record
from cv_folds.training_images import TRAINING_IMAGES_FILE
from ensemble.bundle import Bundle
from ensemble.bundle_writing import write_bundle
from ensemble.deployed import Deployed
from ensemble.manifest_parts import Preprocessing, StoredScore, TrainingData
from hamcv.arms import Division, jobs_of_main
from hamcv.outlier_limits import gauge_files, outlier_limits
from hamcv.run_config import RunConfig
from reports.results import Estimate
from reports.run_records import DataRecord
from reports.summary import leakage_warning
from reports.wording import metric_label


def training_data(facts: DataRecord) -> TrainingData:
    """Return what a bundle tells of the data of a run."""
    return TrainingData(
        name=facts.name,
        fingerprint=facts.fingerprint,
        n_images=facts.n_images,
        n_lesions=facts.n_lesions,
        demo=facts.demo,
    )


def _normalisations(run: Path, config: RunConfig) -> dict[tuple[str, int], Normalisation]:
    """Return what each deployed network was normalised by, where that is its own."""
    records = {(job.backbone, job.fold): read_record(job.folder(run)) for job in jobs_of_main(config)}
    return {key: own for key, record in records.items() if record and (own := record.normalisation) is not None}


def missing_weights(run: Path, config: RunConfig) -> str | None:
    """Tell in one line which weights are missing; None when all are there."""
    paths = [job.folder(run) for job in jobs_of_main(config)]
    missing = [path / MODEL_FILE for path in paths if not (path / MODEL_FILE).is_file()]
    if not missing:
        return None
    return (
        f"no predictor written: it needs the weights of all {len(paths)} jobs, and those of {len(missing)} are not "
        f"there (the first: {missing[0]}); scores and reports do not need them"
    )


def write_predictor(
    folder: Path,
    run: Path,
    config: RunConfig,
    division: Division,
    deployed: Deployed,
    *,
    data: TrainingData,
    scores: Mapping[str, Estimate],
    leakage: Leakage | None,
) -> Bundle:
    """Write a bundle of the networks of a run.

    Parameters
    ----------
    folder : Path
        Replaced when it is a bundle.
    run : Path
        A run folder whose jobs are finished.
    config : RunConfig
        Its settings, or settings with fewer of its backbones.
    division : Division
        Its main folds.
    deployed : Deployed
        Fitted to the outputs of these networks.
    data : TrainingData
        What they were trained on.
    scores : mapping of str to Estimate
        Overall scores of what is deployed.
    leakage : Leakage or None
        What the folds share, where they may share something.
    """
    return write_bundle(
        folder,
        hamcv_version=hamcv.__version__,
        preprocessing=Preprocessing(
            decoder=DECODER,
            image_size=config.training.image_size,
            mean=IMAGENET.mean,
            std=IMAGENET.std,
            held_out_spins=config.training.held_out_spins,
        ),
        deployed=deployed,
        training_data=data,
        scores=[
            StoredScore(name=name, title=metric_label(name), value=estimate.value, low=estimate.low, high=estimate.high)
            for name, estimate in scores.items()
            if estimate.value is not None
        ],
        member_files={(job.backbone, job.fold): job.folder(run) / MODEL_FILE for job in jobs_of_main(config)},
        caution=None if leakage is None else leakage_warning(leakage),
        outliers=outlier_limits(run, config, division),
        gauge_files=gauge_files(run, config),
        normalisations=_normalisations(run, config),
        # A run of an earlier version has none.
        training_images=learned if (learned := run / TRAINING_IMAGES_FILE).is_file() else None,
    )
