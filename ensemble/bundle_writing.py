"""From what a run made to a bundle."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from cv_folds.files import sha256
from cv_folds.training.backbone_names import file_stem
from cv_folds.training.pixels import Normalisation
from cv_folds.training_images import TRAINING_IMAGES_FILE
from ensemble.bundle import Bundle
from ensemble.bundle_folder import add_file, seal, staged
from ensemble.deployed import Deployed
from ensemble.manifest import Manifest
from ensemble.manifest_parts import (
    Member,
    Preprocessing,
    StoredGauges,
    StoredNormalisation,
    StoredScore,
    StoredSets,
    TrainingData,
)
from ensemble.outliers import OutlierRule
from ensemble.stored_model import store_calibrator, store_combiner, store_prior, store_rules
from ensemble.stored_outliers import GaugeFiles, store_gauge, store_outliers


def write_bundle(
    folder: Path,
    *,
    hamcv_version: str,
    preprocessing: Preprocessing,
    deployed: Deployed,
    training_data: TrainingData,
    scores: Sequence[StoredScore],
    member_files: Mapping[tuple[str, int], Path],
    caution: str | None = None,
    training_images: Path | None = None,
    outliers: OutlierRule | None = None,
    gauge_files: Mapping[tuple[str, int], GaugeFiles] | None = None,
    normalisations: Mapping[tuple[str, int], Normalisation] | None = None,
) -> Bundle:
    """Write a bundle and read it back.

    Parameters
    ----------
    folder : Path
        Replaced when it is a bundle.
    hamcv_version : str
        Recorded in the manifest.
    preprocessing : Preprocessing
        What the members were trained with.
    deployed : Deployed
        Prior, combiner, calibrator, decision rules, prediction sets, order of the classes and backbones.
    training_data : TrainingData
        Recorded in manifest and model card.
    scores : sequence of StoredScore
        Cross-fitted, or on a test part; recorded in manifest and model card.
    member_files : mapping of (backbone, fold) to Path
        The weights of every backbone and fold; linked where the file system can, else copied.
    caution : str, optional
        What a reader of the scores must know first; likewise.
    training_images : Path, optional
        A list of `TrainingImages`, so that the ensemble is not tested on one of them elsewhere.
    outliers : OutlierRule, optional
        When a warning is given.
    gauge_files : mapping of (backbone, fold) to GaugeFiles, optional
        The distributions of features over training images of every backbone and fold; for distances in `outliers`.
    normalisations : mapping of (backbone, fold) to Normalisation, optional
        For members that were trained with another than that of `preprocessing`.

    Returns
    -------
    Bundle

    Raises
    ------
    UsageError
        When `folder` exists and is no bundle.
    DataError
        When a weights file is missing or a copy differs from it.
    """
    with staged(folder) as partial:
        if training_images is not None:
            shutil.copyfile(training_images, partial / TRAINING_IMAGES_FILE)
        members = tuple(
            _add_member(
                partial, backbone, fold, source, outliers, gauge_files, (normalisations or {}).get((backbone, fold))
            )
            for (backbone, fold), source in member_files.items()
        )
        manifest = Manifest(
            schema=3,
            hamcv_version=hamcv_version,
            classes=deployed.classes,
            preprocessing=preprocessing,
            members=members,
            prior=store_prior(deployed.model.prior),
            combiner=store_combiner(deployed),
            calibrator=store_calibrator(deployed.model.calibrator),
            decisions=store_rules(deployed.rules),
            prediction_set=StoredSets.of(deployed.prediction_sets),
            outliers=None if outliers is None else store_outliers(outliers),
            training_data=training_data,
            scores=tuple(scores),
            caution=caution,
            files={path.name: sha256(path) for path in partial.iterdir()},
        )
        manifest = seal(partial, manifest)
    return Bundle(
        folder=folder,
        manifest=manifest,
        model=deployed.model,
        rules=deployed.rules,
        prediction_sets=deployed.prediction_sets,
        outliers=outliers,
    )


def _add_member(
    folder: Path,
    backbone: str,
    fold: int,
    source: Path,
    outliers: OutlierRule | None,
    gauge_files: Mapping[tuple[str, int], GaugeFiles] | None,
    normalisation: Normalisation | None,
) -> Member:
    def add(source: Path, suffix: str, what: str) -> Path:
        target = folder / f"{file_stem(backbone)}-fold-{fold}{suffix}.safetensors"
        add_file(source, target, f"{what} of {backbone}, fold {fold}")
        return target

    weights = add(source, "", "the weights")
    gauges = None
    if outliers is not None and (scales := outliers.scales.get((backbone, fold))) is not None:
        assert gauge_files is not None
        files = gauge_files[backbone, fold]
        gauges = StoredGauges(
            features=store_gauge(add(files.features, "-features", "the features"), scales.features),
            appearance=store_gauge(add(files.appearance, "-appearance", "the appearances"), scales.appearance),
        )
    return Member(
        backbone=backbone,
        fold=fold,
        file=weights.name,
        gauges=gauges,
        normalisation=(
            None if normalisation is None else StoredNormalisation(mean=normalisation.mean, std=normalisation.std)
        ),
    )
