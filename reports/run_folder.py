"""The files of a run folder that a report is made from, read into types; the predictions have their own reader."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cv_folds.arrays import FloatArray, frozen
from cv_folds.errors import DataError, UsageError, list_rows
from cv_folds.leakage import Audit
from cv_folds.splits import HOLDOUT_PARTS, Folds
from cv_folds.text_table import TextTable, read_text_table
from cv_folds.training.record import job_folder, job_name
from reports.gallery_files import GalleryFiles, read_gallery
from reports.run_records import MEND, JobDetails, JobRecord, RunRecord, file_text, read_record

FOLD_COLUMNS = ("image_id", "lesion_id", "group", "label", "fold")
HISTORY_COLUMNS = ("epoch", "train_loss", "validation_loss", "validation_balanced_accuracy")


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


def read_settings(path: Path) -> dict[str, Any]:
    """Read ``config.toml`` into dotted names and values, in the order of the file."""
    try:
        nested = tomllib.loads(file_text(path))
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
