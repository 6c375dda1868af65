"""What a job leaves: its folder, its files and its record.

``job.json`` is written last and atomically: a job folder that has a valid one is finished, any other is not.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from cv_folds.files import sha256
from cv_folds.held_out import fold_words, held_out_folds
from cv_folds.training.backbone_names import file_stem
from cv_folds.training.pixels import Normalisation

MODEL_FILE, LOGITS_FILE, HISTORY_FILE, RECORD_FILE = "model.safetensors", "oof.npz", "history.csv", "job.json"
RESULT_FILES = (MODEL_FILE, LOGITS_FILE, HISTORY_FILE)

VALIDATION_FILE = "validation.npz"
"""The logits of the validation part of a fixed division: what combines the networks learns from them."""

FEATURES_FILE, APPEARANCE_FILE = "features.safetensors", "appearance.safetensors"
"""The distributions of the network's features, and of colours and texture, over training images."""

DISTANCES_FILE = "distances.npz"
"""How far from these distributions the held-out images lie."""

DEPLOYED_FILES = frozenset({MODEL_FILE, FEATURES_FILE, APPEARANCE_FILE})
"""What only the predictor needs."""

OTHER_FILES = frozenset({VALIDATION_FILE, FEATURES_FILE, APPEARANCE_FILE, DISTANCES_FILE})
"""Files that not every job leaves."""


class JobRecord(BaseModel):
    """Content of ``job.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    schema_: int = 1
    """Version of this form; written as ``schema``."""
    backbone: str
    """Name of the backbone."""
    fold: int
    """The fold that was held out."""
    second: int | None = None
    """Another fold that was held out with it; only there when there was one."""
    seed: int
    """Seed of the whole run."""
    settings_digest: str
    """`JobSpec.digest` of the job that wrote this."""
    made_of: dict[str, str] = {}
    """`JobSpec.made_of` of it; empty in a record of an earlier version."""
    best_epoch: int
    """The epoch whose weights were kept, counted from 1."""
    epochs_run: int
    """Epochs trained before the end or early stopping."""
    n_train: int
    """Images that the weights were fitted on."""
    n_validation: int
    """Images that it was validated on after every epoch."""
    n_held_out: int
    """Images predicted out of fold."""
    seconds: float
    """Wall time of the job."""
    images_per_second: float
    """Training images by the time spent on them, over all epochs."""
    parameters: int
    """Trainable numbers of the network."""
    precision: str
    """Arithmetic of the training steps."""
    device: str
    """Where it ran."""
    batch_size: int
    """Images a step."""
    micro_batch: int
    """Images that were computed at a time in training; less than the batch when a GPU's memory ran out, or on a CPU
    where the batch is large (`images_at_a_time`)."""
    resumed: int
    """How often the training went on from a checkpoint."""
    normalisation: Normalisation | None = None
    """Only there when it is not ImageNet's: measured on the images that the weights were fitted on, or that of the
    starting weights."""
    peak_memory_mib: float
    """Largest resident memory of the process up to the end of the job."""
    files: dict[str, str]
    """File name to SHA-256."""


def job_folder(run: Path, backbone: str, fold: int, second: int | None = None) -> Path:
    """Return the folder of one job, which holds `fold` out and perhaps `second` too."""
    return run / "jobs" / file_stem(backbone) / "-".join(["fold", *map(str, held_out_folds(fold, second))])


def job_name(arm: str, backbone: str, fold: int, second: int | None = None) -> str:
    """Return what a job is called in messages; `arm` is empty for the main division of a run."""
    return ", ".join([*([arm] if arm else []), backbone, fold_words(held_out_folds(fold, second))])


def read_record(folder: Path) -> JobRecord | None:
    """Return the record of a finished job; None when there is none or it is damaged."""
    try:
        content = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
        return JobRecord.model_validate(
            {("schema_" if key == "schema" else key): value for key, value in content.items()}
        )
    except (OSError, ValueError, AttributeError, ValidationError):
        return None


def verified_record(folder: Path, *, weights: bool = True) -> JobRecord | None:
    """Return the record when the folder holds one and all result files as it lists them, else None.

    Parameters
    ----------
    folder : Path
        Of the job.
    weights : bool
        Without, `DEPLOYED_FILES` may be missing; those that are there must be those of the record.
    """
    record = read_record(folder)
    if record is None or record.files.keys() - OTHER_FILES != set(RESULT_FILES):
        return None
    for name, checksum in record.files.items():
        path = folder / name
        if name in DEPLOYED_FILES and not weights and not path.exists():
            continue
        if not path.is_file() or sha256(path) != checksum:
            return None
    return record
