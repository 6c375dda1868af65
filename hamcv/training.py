"""The training part of a run: which jobs there are, where they run, and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from rich.console import Console

from cv_folds.data.cache import cache_root, decoded_pixels
from cv_folds.data.dataset import LesionDataset
from cv_folds.errors import JobFailedError, UsageError, list_rows
from cv_folds.scheduling.engine import Engine, EngineOptions, run_jobs
from cv_folds.scheduling.engines import check_backend, open_engine
from cv_folds.scheduling.outcome import JobOutcome, succeeded
from cv_folds.scheduling.threads import cpu_cores
from cv_folds.training.job_spec import MADE_OF, JobSpec
from cv_folds.training.jobs import finished
from cv_folds.training.record import read_record
from ensemble.device import resolve_device
from hamcv.arms import Job, jobs_of
from hamcv.image_progress import image_progress
from hamcv.log import LOGGER
from hamcv.preflight import Preflight
from hamcv.progress import job_progress
from hamcv.run_config import RunConfig
from reports.wording import listing, plural


def choose_engine(
    config: RunConfig, *, backend: str, address: str | None, jobs: int | None
) -> AbstractContextManager[Engine]:
    """Return the engine for a run, to be entered.

    Parameters
    ----------
    config : RunConfig
        For the device and the number of jobs.
    backend : str
        ``local``, ``dask`` or ``ray``.
    address : str or None
        Of the cluster.
    jobs : int or None
        Most jobs side by side.

    Raises
    ------
    UsageError
        When the options do not go together, or the device or cluster cannot be had.
    """
    check_backend(backend, address, config.device)
    # A cluster has devices of its own; this process may have none.
    device = str(resolve_device(config.device)) if backend == "local" else config.device
    options = EngineOptions(device=device, jobs=jobs, n_jobs=len(jobs_of(config)), address=address)
    return open_engine(backend, options)


def decode(dataset: LesionDataset, image_size: int, console: Console) -> Path:
    """Decode all images with a progress bar, or find them decoded."""
    with image_progress("decoding images", len(dataset), console) as bars:
        task = bars.task_ids[0]
        return decoded_pixels(
            dataset, image_size, root=cache_root(), workers=cpu_cores(), on_image=lambda: bars.advance(task)
        )


def job_spec(
    config: RunConfig,
    job: Job,
    *,
    run: Path,
    found: Preflight,
    pixels: Path,
    device: str,
    threads: int,
    tensorboard: bool = False,
) -> JobSpec:
    """Return all that a job needs.

    Parameters
    ----------
    config : RunConfig
        The settings of the run.
    job : Job
        One of `jobs_of` it.
    run : Path
        The run folder.
    found : Preflight
        Its data, folds and weights.
    pixels : Path
        Its decoded images.
    device : str
        ``cpu``, ``cuda`` or ``cuda:N``.
    threads : int
        CPU threads.
    tensorboard : bool
        Write event files into the job folder.
    """
    folds = next(division.folds for division in found.divisions if division.arm == job.arm)
    return JobSpec(
        run=run.absolute(),
        backbone=job.backbone,
        fold=job.fold,
        second=job.second,
        folds=folds,
        pixels=pixels.absolute(),
        fingerprint=found.dataset.fingerprint,
        settings=config.training,
        weights=found.weights[job.backbone],
        seed=job.arm.seed,
        device=device,
        threads=threads,
        arm=job.arm.name,
        tensorboard=tensorboard,
    )


def refuse_other_jobs(specs: Sequence[JobSpec], folder: Path) -> None:
    """Raise `UsageError` when jobs in a run folder were finished from something else than these would be.

    The settings of the run are compared before; data, folds and weights lie elsewhere and may have changed meanwhile.
    Trained again, those jobs would be lost, and a run that ends half-way would hold some of either kind.
    """
    records = [(spec, read_record(spec.folder)) for spec in specs]
    others = [(spec, found) for spec, found in records if found is not None and found.settings_digest != spec.digest()]
    if not others:
        return
    differing = sorted(
        {
            words
            for spec, found in others
            for name, (words, _) in MADE_OF.items()
            if found.made_of and found.made_of.get(name) != spec.made_of()[name]
        }
    )
    folders = list_rows([str(spec.folder) for spec, _ in others])
    raise UsageError(
        f"{folder}: of {plural(len(specs), 'training')}, {len(others)} ended with other "
        f"{listing(differing) if differing else 'data, folds, weights or another version of hamcv'}; choose another "
        f"--out, start afresh with `hamcv run --overwrite`, or remove these folders to train them again:\n{folders}"
    )


def train(engine: Engine, specs: Sequence[JobSpec], *, fail_fast: bool, console: Console) -> tuple[JobOutcome, ...]:
    """Run the jobs that are not finished yet, with progress and a line in the log for each.

    Returns
    -------
    tuple of JobOutcome
        Those that were finished before, then those that ended now.
    """
    kept = [succeeded(spec, record) for spec in specs if (record := finished(spec)) is not None]
    done = {outcome.name for outcome in kept}
    left = [spec for spec in specs if spec.name not in done]
    if kept:
        LOGGER.info(f"{len(kept)} of {len(specs)} jobs were finished before")
    with job_progress(left, engine.side_by_side, console) as progress:

        def tell(outcome: JobOutcome) -> None:
            progress.finished(outcome)
            log_outcome(outcome)

        return (*kept, *run_jobs(engine, left, fail_fast=fail_fast, on_outcome=tell))


def log_outcome(outcome: JobOutcome) -> None:
    """Write how a job ended to the log."""
    if outcome.record is None:
        LOGGER.error(f"{outcome.name} failed: {outcome.error}")
        return
    record = outcome.record
    if record.resumed > 0:
        LOGGER.info(f"{outcome.name}: went on from a checkpoint ({record.resumed} times)")
    if record.micro_batch < record.batch_size and record.device != "cpu":
        LOGGER.warning(
            f"{outcome.name}: the GPU's memory ran out; {record.micro_batch} of "
            f"{record.batch_size} images were computed at a time, with the gradients added up"
        )
    LOGGER.info(
        f"{outcome.name}: epoch {record.best_epoch} of {record.epochs_run} kept, "
        f"{record.seconds:.0f} s, {record.images_per_second:.0f} images/s"
    )


def refuse_failures(outcomes: Sequence[JobOutcome], n_jobs: int, run: Path) -> None:
    """Raise `JobFailedError` that names every failed job, when there are any."""
    if failed := [outcome for outcome in outcomes if outcome.error is not None]:
        rows = [f"{outcome.name}: {outcome.error}" for outcome in failed]
        raise JobFailedError(
            f"{len(failed)} of {n_jobs} jobs failed:\n{list_rows(rows)}\n"
            f"{len(outcomes) - len(failed)} are finished and kept in {run}; mend the cause and run the same "
            "command again to resume."
        )


def memory_of_workers(outcomes: Sequence[JobOutcome], engine: Engine) -> float:
    """Return an upper bound in MiB for one machine, pages that processes share counted in each.

    Of this machine the largest jobs side by side; of a cluster, whose machines are not known, the largest one.
    """
    peaks = sorted((outcome.record.peak_memory_mib for outcome in outcomes if outcome.record), reverse=True)
    if engine.place is not None:
        return sum(peaks[:1])
    # One at a time on a CPU runs in this process, whose memory is counted elsewhere.
    return 0.0 if engine.side_by_side == 1 and engine.device == "cpu" else sum(peaks[: engine.side_by_side])
