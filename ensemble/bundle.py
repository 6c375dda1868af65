"""The bundle: one folder with all that is needed to predict, and nothing that runs code when it is read.

Guarantee: a bundle is built beside its folder and renamed into place when complete, and reading verifies the
checksum of every weights file.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from cv_folds.errors import DataError, UsageError, list_rows
from cv_folds.files import sha256, write_json, write_text
from cv_folds.images import DECODER
from cv_folds.training.backbone_names import file_stem
from cv_folds.training.pixels import Normalisation
from cv_folds.training_images import TRAINING_IMAGES_FILE, TrainingImages
from ensemble.conformal import PredictionSets
from ensemble.decisions import DecisionRules
from ensemble.deployed import Deployed
from ensemble.fitted import FittedModel
from ensemble.manifest import (
    SCHEMA,
    Manifest,
    Member,
    Preprocessing,
    StoredGauges,
    StoredNormalisation,
    StoredSets,
    TrainingData,
)
from ensemble.model_card import CardScore, model_card
from ensemble.outliers import OutlierRule
from ensemble.stored_model import read_model, read_rules, store_calibrator, store_combiner, store_prior, store_rules
from ensemble.stored_outliers import GaugeFiles, read_outliers, store_gauge, store_outliers

MANIFEST = "manifest.json"

EXECUTABLE_SUFFIXES = frozenset(
    {".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".dill", ".cloudpickle", ".npy", ".npz"}
)
"""Formats that may carry a pickle, whose reading can run code."""

_MEND = "copy the bundle again; `hamcv ensemble RUN` writes RUN/predictor again"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle whose files have been verified."""

    folder: Path
    """Where it lies."""
    manifest: Manifest
    """Content of ``manifest.json``."""
    model: FittedModel
    """From the logits of the networks of one fold to calibrated probabilities."""
    rules: DecisionRules
    """How a class may be decided on."""
    prediction_sets: PredictionSets
    """The rule for prediction sets."""
    outliers: OutlierRule | None
    """When a warning is given; None when the bundle was made without limits."""

    def path(self, member: Member) -> Path:
        """Return the weights file of a member."""
        return self.folder / member.file

    def training_images(self) -> TrainingImages | None:
        """Return what the members learned from; None when the bundle was made without that list."""
        if self.manifest.training_data.images_sha256 is None:
            return None
        return TrainingImages.read_csv(self.folder / TRAINING_IMAGES_FILE)


def write_bundle(
    folder: Path,
    *,
    hamcv_version: str,
    preprocessing: Preprocessing,
    deployed: Deployed,
    training_data: TrainingData,
    scores: Sequence[CardScore],
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
        Recorded in the manifest and the model card.
    scores : sequence of CardScore
        Cross-fitted, or on a test part; for the model card.
    member_files : mapping of (backbone, fold) to Path
        The weights of every backbone and fold; linked where the file system can, else copied.

    caution : str, optional
        What a reader of the scores must know first, for the model card.
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
    _refuse_other_content(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        if training_images is not None:
            shutil.copyfile(training_images, partial / TRAINING_IMAGES_FILE)
            training_data = training_data.model_copy(update={"images_sha256": sha256(partial / TRAINING_IMAGES_FILE)})
        manifest = Manifest(
            schema=2,
            hamcv_version=hamcv_version,
            classes=deployed.classes,
            preprocessing=preprocessing,
            members=tuple(
                _add_member(
                    partial, backbone, fold, source, outliers, gauge_files, (normalisations or {}).get((backbone, fold))
                )
                for (backbone, fold), source in member_files.items()
            ),
            prior=store_prior(deployed.model.prior),
            combiner=store_combiner(deployed),
            calibrator=store_calibrator(deployed.model.calibrator),
            decisions=store_rules(deployed.rules),
            prediction_set=StoredSets(
                method=deployed.prediction_sets.method,
                coverage=deployed.prediction_sets.coverage,
                thresholds=deployed.prediction_sets.thresholds,
            ),
            outliers=None if outliers is None else store_outliers(outliers),
            training_data=training_data,
        )
        write_json(partial / MANIFEST, manifest.model_dump(mode="json", by_alias=True))
        write_text(partial / "README.md", model_card(manifest, scores, caution))
        read_bundle(partial)
        _move_into_place(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Bundle(
        folder=folder,
        manifest=manifest,
        model=deployed.model,
        rules=deployed.rules,
        prediction_sets=deployed.prediction_sets,
        outliers=outliers,
    )


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle and verify every file.

    Parameters
    ----------
    folder : Path
        What `write_bundle` wrote.

    Returns
    -------
    Bundle

    Raises
    ------
    DataError
        When the manifest is missing, damaged, inconsistent or of another schema, a weights file is missing,
        changed or outside the folder, the folder holds a file that may carry a pickle, or the images were
        decoded by a recipe that this version does not have.
    """
    manifest = _read_manifest(folder / MANIFEST)
    if manifest.preprocessing.decoder != DECODER:
        raise DataError(
            f"{folder / MANIFEST}: its images were decoded by {manifest.preprocessing.decoder!r}, this version has "
            f"{DECODER!r} only; install hamcv {manifest.hamcv_version}"
        )
    if refused := sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXECUTABLE_SUFFIXES):
        raise DataError(
            "a bundle holds no file that can run code when it is read; remove these:\n"
            + list_rows([str(path) for path in refused])
        )
    for member in manifest.members:
        _verify_member(folder, member)
    if (digest := manifest.training_data.images_sha256) is not None:
        _verify_content(folder / TRAINING_IMAGES_FILE, digest)
    try:
        model = read_model(manifest)
    except DataError as error:
        raise DataError(f"{folder / MANIFEST}: {error}; {_MEND}") from error
    return Bundle(
        folder=folder,
        manifest=manifest,
        model=model,
        rules=read_rules(manifest),
        prediction_sets=PredictionSets(
            method=manifest.prediction_set.method,
            coverage=manifest.prediction_set.coverage,
            thresholds=manifest.prediction_set.thresholds,
        ),
        outliers=read_outliers(manifest),
    )


def _read_manifest(path: Path) -> Manifest:
    if not path.is_file():
        raise DataError(f"{path} is missing: {path.parent} is no bundle; {_MEND}")
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path} is no JSON ({error}); {_MEND}") from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise DataError(
            f"{path}: schema {schema} is newer than this version reads ({SCHEMA}); install hamcv "
            f"{content.get('hamcv_version', 'of that age')} or newer"
        )
    if isinstance(schema, int) and schema < SCHEMA:
        raise DataError(
            f"{path}: schema {schema} is older than this version reads ({SCHEMA}); run `hamcv ensemble RUN` again on "
            "the run that it came from"
        )
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        rows = [f"{'.'.join(str(part) for part in row['loc'])}: {row['msg']}" for row in error.errors()]
        raise DataError(f"{path} is not a manifest of schema {SCHEMA}; {_MEND}:\n" + list_rows(rows)) from error


def _verify_member(folder: Path, member: Member) -> None:
    for file, digest in member.files():
        path = folder / file
        if Path(file).name != file or path.resolve().parent != folder.resolve():
            raise DataError(f"{folder / MANIFEST}: {file!r} leads out of the folder; do not use this bundle")
        if path.suffix != ".safetensors":
            raise DataError(f"{folder / MANIFEST}: {file!r} is no safetensors file; do not use this bundle")
        _verify_content(path, digest)


def _verify_content(path: Path, digest: str) -> None:
    if not path.is_file():
        raise DataError(f"{path} is missing; {_MEND}")
    if sha256(path) != digest:
        raise DataError(f"{path} is damaged: its SHA-256 is not that of {MANIFEST}; {_MEND}")


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
        _add_file(source, target, f"{what} of {backbone}, fold {fold}")
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
        sha256=sha256(weights),
        gauges=gauges,
        normalisation=(
            None if normalisation is None else StoredNormalisation(mean=normalisation.mean, std=normalisation.std)
        ),
    )


def _add_file(source: Path, target: Path, what: str) -> None:
    if not source.is_file():
        raise DataError(f"{source}, {what}, is missing; run again to train it")
    try:
        os.link(source, target)
    except OSError:
        # Another file system, or one without hard links.
        shutil.copyfile(source, target)


def _refuse_other_content(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / MANIFEST).is_file())):
        raise UsageError(f"{folder} exists and is no bundle; choose another folder or remove it")


def _move_into_place(partial: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
