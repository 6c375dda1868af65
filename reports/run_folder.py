"""The files of a run folder that a report is made from, read into types; the predictions have their own reader."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cv_folds.arrays import FloatArray, frozen
from cv_folds.errors import DataError, UsageError, list_rows
from cv_folds.leakage import Audit
from cv_folds.splits import HOLDOUT_PARTS, Folds
from cv_folds.text_table import TextTable, read_text_table
from cv_folds.training.record import job_folder, job_name
from reports.gallery_files import GalleryFiles, read_gallery

MEND = "`hamcv run` with the same settings writes it again"

FOLD_COLUMNS = ("image_id", "lesion_id", "group", "label", "fold")
HISTORY_COLUMNS = ("epoch", "train_loss", "validation_loss", "validation_balanced_accuracy")


class _Record(BaseModel):
    # A later version may add keys; an older report must still open the run.
    model_config = ConfigDict(frozen=True, extra="ignore")


class DeviceRecord(_Record):
    """What the run computed on."""

    kind: str
    """``cpu`` or ``cuda``."""
    name: str
    """Name of the processor or accelerator."""
    threads: int
    """CPU threads of each job."""
    side_by_side: int | None = None
    """Most jobs at a time; None where that was not recorded."""
    cores: int | None = None
    """CPU cores of the machine that the run may use; None for a cluster."""
    memory_mib: float | None = None
    """Memory of the machine; None for a cluster."""
    gpu_memory_mib: float | None = None
    """Memory of the GPU; None without one."""


class DataRecord(_Record):
    """What the run learned from."""

    name: str
    """Name of the data set."""
    fingerprint: str
    """Digest of the image ids, labels and lesions."""
    demo: bool
    """True for the generated demo set."""
    n_images: int
    """Number of images."""
    n_lesions: int
    """Number of lesions."""
    images_per_class: dict[str, int]
    """Class name to number of images."""
    lesions_per_class: dict[str, int]
    """Class name to number of lesions."""


class JobRecord(_Record):
    """How one (backbone, fold) job ended."""

    arm: str = ""
    """Folder of the arm below the run folder; empty for the main one."""
    backbone: str
    """Backbone name."""
    fold: int
    """The fold that was held out, counted from 0."""
    second: int | None = None
    """Another fold that was held out too, for the nested estimate; None for a usual job."""
    status: Literal["done", "failed"]
    """How it ended."""
    seconds: float | None = None
    """Wall-clock time of the job."""
    images_per_second: float | None = None
    """Training throughput."""
    best_epoch: int | None = None
    """The epoch whose weights were kept, counted from 1."""
    epochs_run: int | None = None
    """Epochs trained before the job stopped."""
    error: str | None = None
    """Why it failed."""

    @property
    def deployed(self) -> bool:
        """Whether its network belongs to the ensemble that heads the report."""
        return not self.arm and self.second is None


class RunRecord(_Record):
    """``run.json``."""

    form: Literal[1] = Field(alias="schema")
    """Version of the file's form."""
    status: Literal["running", "done", "failed", "interrupted"]
    """How far the run came."""
    recipe: str
    """Recipe name."""
    started: datetime
    """When the run started."""
    finished: datetime | None = None
    """When it ended."""
    versions: dict[str, str]
    """Package name to version."""
    platform: str
    """Operating system."""
    device: DeviceRecord
    """What the run computed on."""
    git_revision: str | None = None
    """Revision of the code; None outside a checkout."""
    data: DataRecord
    """What the run learned from."""
    weights: str
    """``imagenet``, ``none`` or ``folder NAME``."""
    seconds: dict[str, float]
    """Stage to wall-clock seconds."""
    images_per_second: float | None = None
    """Training throughput over all jobs."""
    peak_memory_mib: float | None = None
    """Largest memory in use."""
    jobs: tuple[JobRecord, ...]
    """One a (backbone, fold)."""


class JobDetails(_Record):
    """``job.json``, as far as a report needs it."""

    seed: int
    """Seed of the run."""
    best_epoch: int
    """The epoch whose weights were kept, counted from 1."""
    epochs_run: int
    """Epochs trained."""
    n_train: int
    """Images the weights were fitted on."""
    n_validation: int
    """Images that chose the epoch."""
    n_held_out: int
    """Images of the held-out fold."""
    parameters: int
    """Number of weights."""
    precision: str
    """Number format of training."""
    peak_memory_mib: float | None = None
    """Largest resident memory of the process up to the end of the job."""


@dataclass(frozen=True, kw_only=True)
class JobHistory:
    """One finished job and how its training went."""

    backbone: str
    """Backbone name."""
    fold: int
    """The fold that was held out, counted from 0."""
    details: JobDetails
    """Counts, seed and size."""
    epochs: FloatArray
    """(n_epochs,) epoch numbers from 1."""
    train_loss: FloatArray
    """(n_epochs,) mean training loss in nats."""
    validation_loss: FloatArray
    """(n_epochs,) mean loss on the inner validation part in nats; NaN where not measured."""
    validation_balanced_accuracy: FloatArray
    """(n_epochs,) balanced accuracy on the inner validation part; NaN where not measured."""


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """Everything in a run folder that a report shows, apart from the scores."""

    name: str
    """Name of the folder."""
    record: RunRecord
    """``run.json``."""
    audit: Audit
    """``audit.json``."""
    folds: Folds
    """``folds.csv``."""
    settings: Mapping[str, Any]
    """``config.toml``: dotted name to value."""
    histories: tuple[JobHistory, ...]
    """Training histories of the networks of the ensemble, in the order of ``run.json``."""
    gallery: GalleryFiles | None
    """Pictures of errors and disagreements; None when none were drawn."""


def read_run_folder(run: Path, classes: tuple[str, ...]) -> RunFolder:
    """Read the files of a finished run folder.

    Parameters
    ----------
    run : Path
        The run folder.
    classes : tuple of str
        Class names in column order.

    Raises
    ------
    UsageError
        When `run` is no run folder, or ``run.json`` lists failed jobs: scores in the folder are then those of an
        earlier run, if there are any.
    DataError
        When a file is missing or damaged; the message names it.
    """
    if not (run / "run.json").is_file():
        raise UsageError(f"{run} is no run folder (it has no run.json); give the folder that `hamcv run` wrote")
    record = read_record(run / "run.json", RunRecord)
    refuse_failed_jobs(run, record)
    settings = read_settings(run / "config.toml")
    return RunFolder(
        name=run.resolve().name,
        record=record,
        audit=read_record(run / "audit.json", Audit),
        folds=read_folds(run / "folds.csv", classes, leaks=settings.get("allow_leakage", False)),
        settings=settings,
        histories=tuple(
            read_history(job_folder(run, job.backbone, job.fold), job) for job in record.jobs if job.deployed
        ),
        gallery=read_gallery(run),
    )


Record = TypeVar("Record", bound=BaseModel)


def read_record(path: Path, form: type[Record]) -> Record:
    """Read a JSON file into `form`; a missing or damaged one raises `DataError` that names file and key."""
    try:
        return form.model_validate_json(_text(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataError(f"{path} is damaged: {where}: {first['msg']}; {MEND}") from error


def read_settings(path: Path) -> dict[str, Any]:
    """Read ``config.toml`` into dotted names and values, in the order of the file."""
    try:
        nested = tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path} is damaged: {error}; {MEND}") from error
    return flatten(nested)


def refuse_failed_jobs(run: Path, record: RunRecord) -> None:
    """Raise `UsageError` that lists the failed jobs of a run: scores in its folder are those of an earlier attempt."""
    if failed := [job for job in record.jobs if job.status == "failed"]:
        rows = [
            f"{job_name(job.arm, job.backbone, job.fold, job.second)}: {job.error or 'reason not recorded'}"
            for job in failed
        ]
        raise UsageError(
            f"{run}: {len(failed)} of {len(record.jobs)} jobs failed; run the same command again to finish them:\n"
            + list_rows(rows)
        )


def flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as dotted names and values, in order; `prefix` opens every name."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def read_folds(path: Path, classes: tuple[str, ...], *, leaks: bool = False) -> Folds:
    """Read ``folds.csv``; gaps and unknown labels raise `DataError`, and so do torn groups unless `leaks`."""
    table = _table(path)
    rows = table.rows
    if not rows or rows[0] != FOLD_COLUMNS or len(rows) == 1:
        raise DataError(f"{path} is damaged: it needs the columns {', '.join(FOLD_COLUMNS)} and rows; {MEND}")
    index = {name: label for label, name in enumerate(classes)}
    holdout = rows[1][-1] in HOLDOUT_PARTS
    known = {name: fold for fold, name in enumerate(HOLDOUT_PARTS)} if holdout else _numbers(rows[1:])
    for row, line in zip(rows[1:], table.lines[1:], strict=True):
        if len(row) != len(FOLD_COLUMNS) or row[3] not in index or row[4] not in known:
            raise DataError(f"{path}, row {line} is damaged: {','.join(row)!r}; {MEND}")
    image_ids, lesion_ids, groups, labels, folds = zip(*rows[1:], strict=True)
    try:
        return Folds(
            image_ids=frozen(image_ids, np.str_),
            lesion_ids=frozen(lesion_ids, np.str_),
            groups=frozen(groups, np.str_),
            labels=frozen([index[name] for name in labels], np.int64),
            classes=classes,
            folds=frozen([known[fold] for fold in folds], np.int64),
            n_folds=max(known.values()) + 1,
            leaks=leaks,
            holdout=holdout,
        )
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _numbers(rows: Sequence[Sequence[str]]) -> dict[str, int]:
    """Return what the last cells stand for, where they are fold numbers."""
    return {row[-1]: int(row[-1]) for row in rows if row and row[-1].isdecimal()}


def read_history(folder: Path, job: JobRecord) -> JobHistory:
    """Read ``job.json`` and ``history.csv`` of one finished job."""
    path = folder / "history.csv"
    table = _table(path)
    try:
        cells = table.columns()
        columns = {name: frozen([cell or "nan" for cell in cells[name]], np.float64) for name in HISTORY_COLUMNS}
    except (ValueError, KeyError) as error:
        raise DataError(f"{path} is damaged: {error}; delete the folder {folder} and run again") from error
    if len(table.rows) == 1:
        raise DataError(f"{path} is damaged: it has no epochs; delete the folder {folder} and run again")
    return JobHistory(
        backbone=job.backbone,
        fold=job.fold,
        details=read_record(folder / "job.json", JobDetails),
        epochs=columns["epoch"],
        train_loss=columns["train_loss"],
        validation_loss=columns["validation_loss"],
        validation_balanced_accuracy=columns["validation_balanced_accuracy"],
    )


def _table(path: Path) -> TextTable:
    if not path.is_file():
        raise DataError(f"{path} is missing; {MEND}")
    try:
        return read_text_table(path)
    except DataError as error:
        raise DataError(f"{path} is damaged: {error}; {MEND}") from error


def _text(path: Path) -> str:
    if not path.is_file():
        raise DataError(f"{path} is missing; {MEND}")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is damaged: it is no UTF-8 text ({error.reason}); {MEND}") from error
