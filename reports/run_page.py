"""What a run was carried out with: machine, seeds, times of stages and jobs, settings, software."""

from __future__ import annotations

from cv_folds.training.record import job_name
from reports.document import Block, Cell, Column, Group, Section, Table
from reports.run_folder import JobHistory, RunFolder
from reports.run_records import JobRecord
from reports.run_tables import facts_table, setting_text, settings_table
from reports.score_tables import missing, plain, whole
from reports.wording import count, duration, percent

VALIDATED = "Inner validation"
JOB_COLUMNS = (
    "Fitted on",
    VALIDATED,
    "Held out",
    "Epoch kept",
    "Epochs run",
    "Parameters",
    "Time",
    "Images per second",
    "Memory, MiB",
)


def run_section(folder: RunFolder) -> Section:
    """Return the page on how a run was carried out."""
    blocks: list[Block] = [machine_table(folder), stage_table(folder)]
    if folder.histories:
        blocks.append(Group(title="Jobs", blocks=(job_table(folder),)))
    if others := [job for job in folder.record.jobs if not job.deployed]:
        blocks.append(Group(title="Further trainings", blocks=(further_jobs_table(others),)))
    blocks.append(Group(title="Settings", blocks=(settings_table(folder),)))
    blocks.append(Group(title="Software", blocks=(version_table(folder),)))
    return Section(name="run", title="Software, seeds, hardware and times", blocks=tuple(blocks))


def machine_table(folder: RunFolder) -> Table:
    """Return machine, dates, seeds and data of the run."""
    record = folder.record
    device = record.device
    facts = [
        ("Recipe", record.recipe),
        ("Data", f"{record.data.name}, fingerprint {record.data.fingerprint}"),
        ("Weights", record.weights),
        ("Seed", _seed(folder)),
        ("Device", f"{device.name} ({device.kind})"),
        *([("Memory of the GPU", f"{count(device.gpu_memory_mib)} MiB")] if device.gpu_memory_mib else []),
        ("Jobs side by side", _side_by_side(folder)),
        *([("Processor cores", count(device.cores))] if device.cores else []),
        *([("Memory of the machine", f"{count(device.memory_mib)} MiB")] if device.memory_mib else []),
        ("Platform", record.platform),
        ("Code revision", record.git_revision or "not recorded (no checkout)"),
        ("Started", f"{record.started:%Y-%m-%d %H:%M:%S %Z}".strip()),
        # The report is a stage of the run itself, which then has no end yet.
        *([("Finished", f"{record.finished:%Y-%m-%d %H:%M:%S %Z}".strip())] if record.finished else []),
        ("Training throughput", _or_not(record.images_per_second, "images per second")),
        ("Largest memory in use", _or_not(record.peak_memory_mib, "MiB")),
    ]
    return facts_table("run-facts", "Machine, seeds and data.", facts)


def _seed(folder: RunFolder) -> str:
    seed = setting_text(folder.settings.get("seed", "not recorded"))
    # What chance decides in a training differs from job to job, and all of it follows from the one seed.
    what = (
        "the division, each job (by its backbone)" if folder.folds.holdout else "folds, each job (by backbone and fold)"
    )
    return f"{seed}; {what} and the resamples draw from generators made of it"


def _side_by_side(folder: RunFolder) -> str:
    device = folder.record.device
    threads = f"{device.threads} CPU thread{'' if device.threads == 1 else 's'} each"
    return threads if device.side_by_side is None else f"{device.side_by_side}, {threads}"


def stage_table(folder: RunFolder) -> Table:
    """Return the wall-clock time of every stage; the report is not done when it is written."""
    seconds = folder.record.seconds
    total = sum(seconds.values())
    rows = [(name, spent) for name, spent in seconds.items()]
    return Table(
        name="stages",
        caption="Wall-clock time of each stage, summed over resumptions.",
        columns=(Column(label="Stage", numeric=False), Column(label="Time"), Column(label="Share")),
        rows=tuple(
            (
                Cell(text=name),
                Cell(text=duration(spent), value=spent),
                Cell(text=percent(spent / total, 1), value=spent / total) if total else missing("no time was taken"),
            )
            for name, spent in [*rows, ("all", total)]
        ),
    )


def job_table(folder: RunFolder) -> Table:
    """Return every job of the ensemble with its counts, times and memory."""
    precisions = sorted({history.details.precision for history in folder.histories})
    holdout = folder.folds.holdout
    return Table(
        name="jobs",
        caption=f"One network for each backbone{'' if holdout else ' and fold that is held out'}: the "
        "images its weights were fitted on, those that it was validated on after every epoch, and those held out. "
        "Number format of the training steps: "
        f"{', '.join(precisions)}. Memory: the largest of the process up to the end of the job.",
        columns=(
            Column(label="Backbone", numeric=False),
            *(() if holdout else (Column(label="Fold"),)),
            *(Column(label="Validation" if holdout and words == VALIDATED else words) for words in JOB_COLUMNS),
        ),
        rows=tuple(_job_row(history, job_of(folder, history), holdout=holdout) for history in folder.histories),
    )


def _job_row(history: JobHistory, job: JobRecord, *, holdout: bool) -> tuple[Cell, ...]:
    details = history.details
    return (
        Cell(text=history.backbone, detail=details.precision),
        *(() if holdout else (whole(history.fold),)),
        whole(details.n_train),
        whole(details.n_validation),
        whole(details.n_held_out),
        whole(details.best_epoch),
        whole(details.epochs_run),
        whole(details.parameters),
        *_speed(job),
        missing(None) if details.peak_memory_mib is None else plain(details.peak_memory_mib, 0),
    )


def further_jobs_table(jobs: list[JobRecord]) -> Table:
    """Return the trainings beside those of the ensemble: of repetitions, other folds, or without two folds."""
    return Table(
        name="further-jobs",
        caption="Trainings for repetitions, folds that ignore lesions, or nested estimates.",
        columns=(
            Column(label="Training", numeric=False),
            *(Column(label=words) for words in ("Epoch kept", "Epochs run", "Time", "Images per second")),
        ),
        rows=tuple(
            (
                Cell(text=job_name(job.arm, job.backbone, job.fold, job.second)),
                missing(None) if job.best_epoch is None else whole(job.best_epoch),
                missing(None) if job.epochs_run is None else whole(job.epochs_run),
                *_speed(job),
            )
            for job in jobs
        ),
    )


def _speed(job: JobRecord) -> tuple[Cell, Cell]:
    return (
        missing(None) if job.seconds is None else Cell(text=duration(job.seconds), value=job.seconds),
        missing(None) if job.images_per_second is None else plain(job.images_per_second, 1),
    )


def job_of(folder: RunFolder, history: JobHistory) -> JobRecord:
    """Return the entry of ``run.json`` that belongs to a history."""
    return next(
        job
        for job in folder.record.jobs
        if job.deployed and (job.backbone, job.fold) == (history.backbone, history.fold)
    )


def version_table(folder: RunFolder) -> Table:
    """Return the software versions."""
    return facts_table("versions", "Software versions.", list(folder.record.versions.items()), head="Package")


def _or_not(value: float | None, unit: str) -> str:
    return "not recorded" if value is None else f"{value:.1f} {unit}"
