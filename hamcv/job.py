"""A run in pieces, for the job arrays of a batch system: prepare the folder once, then run job by job.

Each job is a process of its own, on any machine that sees the run folder. `hamcv run` with the same settings then
finds all of them finished and does the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from cv_folds.clinical import METADATA_FILE, ClinicalTable
from cv_folds.errors import DataError, JobFailedError, UsageError, list_rows
from cv_folds.leakage import Audit, audit_folds, lesions_given
from cv_folds.scheduling.outcome import JobOutcome, run_contained, succeeded
from cv_folds.scheduling.threads import cpu_cores
from cv_folds.training.jobs import finished
from cv_folds.training_images import TRAINING_IMAGES_FILE, TrainingImages
from ensemble.device import resolve_device
from hamcv.arms import FOLDS_FILE, jobs_of
from hamcv.config import read_config
from hamcv.log import logging_to
from hamcv.preflight import Preflight, preflight
from hamcv.run_config import RunConfig
from hamcv.run_folder import CONFIG_FILE, hold_job, open_run_folder
from hamcv.sources import DEMO_BANNER
from hamcv.training import decode, job_spec, log_outcome, refuse_other_jobs
from reports.run_records import read_record

AUDIT_FILE = "audit.json"


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A run folder whose jobs can be run."""

    folder: Path
    """The run folder."""
    n_jobs: int
    """They are numbered from 0."""
    demo: bool
    """True for the generated demo set."""
    notes: tuple[str, ...]
    """What everyone who uses the data should be told."""


def prepare(config: RunConfig, folder: Path, *, overwrite: bool, console: Console) -> Prepared:
    """Check everything, fetch weights, decode the images and write settings and folds; train nothing.

    Parameters
    ----------
    config : RunConfig
        The settings of the run.
    folder : Path
        The run folder.
    overwrite : bool
        Remove what an earlier run left there.
    console : rich.console.Console
        For the progress, on stderr.

    Raises
    ------
    UsageError, DataError, RunFolderBusyError
        Before anything is written.
    """
    with open_run_folder(folder, config, overwrite=overwrite) as begin:
        # The device is not looked for: the jobs run elsewhere.
        found = preflight(config, download=True, console=console)
        if not overwrite:
            refuse_changed_folds(folder, config, found)
        pixels = decode(found.dataset, config.training.image_size, console)
        jobs = jobs_of(config)
        if not overwrite:
            # Device and threads are no part of what a job's result is made of.
            specs = [
                job_spec(config, job, run=folder, found=found, pixels=pixels, device="cpu", threads=1) for job in jobs
            ]
            refuse_other_jobs(specs, folder)
        learned = images_learned_from(found)
        if not overwrite:
            refuse_changed_images(folder, learned)
        begin()
        write_folds(folder, found, learned)
    dataset = found.dataset
    return Prepared(folder=folder, n_jobs=len(jobs), demo=dataset.demo, notes=(*dataset.notes, *found.notes))


def images_learned_from(found: Preflight) -> TrainingImages:
    """Return ids and checksums of the images that a run learns from; all files are read."""
    return TrainingImages.of_folds(found.dataset, found.main, workers=cpu_cores())


def refuse_changed_images(folder: Path, learned: TrainingImages) -> None:
    """Raise `UsageError` when images that a run learns from are no longer those that the one in `folder` began with.

    The fingerprint of a data set has the sizes of the files; an image that was replaced by one of the same size is seen
    here alone, and not at all in the test part of a hold-out.
    """
    try:
        before = TrainingImages.read_csv(folder / TRAINING_IMAGES_FILE)
    except DataError:
        return
    if before.image_ids.tolist() != learned.image_ids.tolist():
        return
    changed = learned.image_ids[before.digests != learned.digests].tolist()
    if changed:
        raise UsageError(
            f"{folder}: began with other files of these images; choose another --out, or start afresh with "
            f"--overwrite:\n{list_rows(changed)}"
        )


def write_folds(folder: Path, found: Preflight, learned: TrainingImages) -> None:
    """Write the ``folds.csv`` of every arm, ``metadata.csv``, ``training_images.csv`` and ``audit.json``."""
    for division in found.divisions:
        division.folds.write_csv(division.arm.folder(folder) / FOLDS_FILE)
    ClinicalTable.of_dataset(found.dataset).write_csv(folder / METADATA_FILE)
    learned.write_csv(folder / TRAINING_IMAGES_FILE)
    assert found.shared is not None
    audit = audit_folds(found.main, found.shared.merged, found.shared.doubtful, found.shared.checks)
    audit.with_check(lesions_given(found.dataset)).write(folder / AUDIT_FILE)


def refuse_changed_folds(folder: Path, config: RunConfig, found: Preflight) -> None:
    """Raise `UsageError` when a file of folds or decided pairs is no longer what the run in `folder` began with."""
    stored = folder / FOLDS_FILE
    named = {
        "--folds-file": config.folds_file,
        "audit.accept =": config.audit.accept,
        "audit.reject =": config.audit.reject,
    }
    files = [f"{option} {file}" for option, file in named.items() if file is not None]
    if not files or not stored.is_file():
        return
    if stored.read_text(encoding="utf-8") != found.main.to_csv():
        raise UsageError(
            f"{', '.join(files)}: the folds, or the groups of the data, are not those that {folder} "
            "began with; choose another --out, or start afresh with --overwrite"
        )


def run_job_alone(folder: Path, index: int, console: Console) -> JobOutcome:
    """Run one job of a prepared folder in this process, with all CPU cores that it may use.

    Parameters
    ----------
    folder : Path
        A run folder.
    index : int
        The number of the job in `jobs_of`, counted from 0.
    console : rich.console.Console
        For the log and the progress, on stderr.

    Returns
    -------
    JobOutcome
        With a record.

    Raises
    ------
    UsageError
        When the folder is not prepared, or there is no such job.
    RunFolderBusyError
        When another process works on this job or holds the whole folder.
    JobFailedError
        When the job failed.
    """
    if not (folder / CONFIG_FILE).is_file():
        raise UsageError(
            f"{folder}: holds no {CONFIG_FILE}; prepare the folder with `hamcv run ... --out {folder} --prepare`"
        )
    config = read_config(folder / CONFIG_FILE)
    jobs = jobs_of(config)
    if not 0 <= index < len(jobs):
        raise UsageError(f"INDEX {index}: {folder} has {len(jobs)} jobs, numbered from 0 to {len(jobs) - 1}")
    with hold_job(folder, index), logging_to(console) as log:
        device = resolve_device(config.device)
        # What the preparation found: the pictures are not compared again on every machine.
        merged = read_record(folder / AUDIT_FILE, Audit).merged_pairs
        found = preflight(config, download=True, backbones=[jobs[index].backbone], merged=merged)
        refuse_changed_folds(folder, config, found)
        if found.dataset.demo:
            log.warning(DEMO_BANNER)
        pixels = decode(found.dataset, config.training.image_size, console)
        spec = job_spec(
            config, jobs[index], run=folder, found=found, pixels=pixels, device=str(device), threads=cpu_cores()
        )
        if (record := finished(spec)) is not None:
            log.info(f"{spec.name} was finished before")
            return succeeded(spec, record)
        # Another machine may see other data than those that ran the jobs before.
        alike = [
            job_spec(config, job, run=folder, found=found, pixels=pixels, device=str(device), threads=spec.threads)
            for job in jobs
            if job.backbone == spec.backbone
        ]
        refuse_other_jobs(alike, folder)
        log.info(f"job {index} of {len(jobs)}: {spec.name}, on {device} with {spec.threads} threads")
        outcome = run_contained(spec)
        if outcome.error is not None:
            raise JobFailedError(f"{spec.name}: {outcome.error}")
        log_outcome(outcome)
        return outcome
