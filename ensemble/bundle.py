"""The bundle: one folder with all that is needed to predict, and nothing that runs code when it is read.

Guarantee: reading verifies the checksum of every file, and refuses a file that the manifest does not list, but for what
`BESIDE` names, which nothing here reads.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from cv_folds.errors import DataError, list_rows
from cv_folds.files import sha256
from cv_folds.images import DECODER
from cv_folds.training_images import TRAINING_IMAGES_FILE, TrainingImages
from ensemble.conformal import PredictionSets
from ensemble.decisions import DecisionRules
from ensemble.fitted import FittedModel
from ensemble.manifest import SCHEMA, Manifest
from ensemble.manifest_parts import Member
from ensemble.outliers import OutlierRule
from ensemble.stored_model import read_model, read_rules
from ensemble.stored_outliers import read_outliers

MANIFEST = "manifest.json"

EXECUTABLE_SUFFIXES = frozenset(
    {".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".dill", ".cloudpickle", ".npy", ".npz"}
)
"""Formats that may carry a pickle, whose reading can run code."""

BESIDE = frozenset({".git", ".gitattributes", ".gitignore", ".cache", ".DS_Store"})
"""What version control, a download from a hub and file managers leave in the folder."""

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
        if TRAINING_IMAGES_FILE not in self.manifest.files:
            return None
        return TrainingImages.read_csv(self.folder / TRAINING_IMAGES_FILE)


def find_bundle(path: Path) -> Path:
    """Return the folder of a bundle: `path` itself, or the predictor of the run there.

    Raises
    ------
    DataError
        When there is none.
    """
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; give a run folder or a bundle")
    folder = path if (path / MANIFEST).is_file() else path / "predictor"
    if not folder.is_dir():
        raise DataError(
            f"{path} is neither a bundle (no {MANIFEST}) nor a finished run (no predictor folder); finish the run "
            "with `hamcv run`"
        )
    return folder


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle and verify every file.

    Parameters
    ----------
    folder : Path
        What `ensemble.bundle_writing.write_bundle` wrote.

    Returns
    -------
    Bundle

    Raises
    ------
    DataError
        When the manifest is missing, damaged, inconsistent or of another schema, a file is missing, changed, outside
        the folder or not listed, the folder holds a file that may carry a pickle, or the images were decoded by a
        recipe that this version does not have.
    """
    manifest = _read_manifest(folder / MANIFEST)
    if manifest.preprocessing.decoder != DECODER:
        raise DataError(
            f"{folder / MANIFEST}: its images were decoded by {manifest.preprocessing.decoder!r}, this version has "
            f"{DECODER!r} only; install hamcv {manifest.hamcv_version}"
        )
    _refuse_others(folder, manifest)
    for file, digest in manifest.files.items():
        _verify(folder, file, digest)
    try:
        model = read_model(manifest)
    except DataError as error:
        raise DataError(f"{folder / MANIFEST}: {error}; {_MEND}") from error
    return Bundle(
        folder=folder,
        manifest=manifest,
        model=model,
        rules=read_rules(manifest),
        prediction_sets=manifest.prediction_set.rule(),
        outliers=read_outliers(manifest),
    )


def _read_manifest(path: Path) -> Manifest:
    if not path.is_file():
        raise DataError(f"{path} is missing: {path.parent} is no bundle; {_MEND}")
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
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


def _refuse_others(folder: Path, manifest: Manifest) -> None:
    """Raise `DataError` that names what lies in the folder and is no part of the bundle."""
    found = sorted(folder.rglob("*"))
    if refused := [path for path in found if path.suffix.lower() in EXECUTABLE_SUFFIXES]:
        raise DataError(
            "a bundle holds no file that can run code when it is read; remove these:\n"
            + list_rows([str(path) for path in refused])
        )
    known = {folder / name for name in (MANIFEST, *manifest.files)}
    if strange := [path for path in found if path not in known and path.relative_to(folder).parts[0] not in BESIDE]:
        raise DataError(
            f"{folder}: holds what its {MANIFEST} does not list; remove these:\n"
            + list_rows([str(path) for path in strange])
        )


def _verify(folder: Path, file: str, digest: str) -> None:
    path = folder / file
    if path.resolve().parent != folder.resolve():
        raise DataError(f"{folder / MANIFEST}: {file!r} leads out of the folder; do not use this bundle")
    if not path.is_file():
        raise DataError(f"{path} is missing; {_MEND}")
    if sha256(path) != digest:
        raise DataError(f"{path} is damaged: its SHA-256 is not that of {MANIFEST}; {_MEND}")
