"""Running the jobs of one machine side by side, so that a failed one does not take the others along."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass

import torch
from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from cv_folds.errors import HamcvError
from cv_folds.files import write_text
from cv_folds.training.jobs import JobSpec, run_job
from cv_folds.training.record import JobRecord, read_record

ERROR_FILE = "error.txt"

_WATCHER = "end-with-parent"


@dataclass(frozen=True, kw_only=True)
class JobOutcome:
    """How one job ended."""

    backbone: str
    """Name of the backbone."""
    fold: int
    """The fold that was held out."""
    record: JobRecord | None
    """What a finished job wrote; None when it failed."""
    error: str | None
    """Why it failed, in one line or a few; None when it is finished."""


def cpu_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_threads(jobs: int | None, device: str, n_jobs: int) -> tuple[int, int]:
    """Return how many jobs run side by side and the CPU threads of each.

    On a CPU, jobs of one thread each: side by side they do more than one job with all threads, whose work is not
    all parallel. On a GPU one job at a time, since each fills the device.

    Parameters
    ----------
    jobs : int or None
        What the user asks for; None for the default.
    device : str
        ``cpu``, ``cuda`` or ``cuda:N``.
    n_jobs : int
        All jobs of the run, finished ones too: a resumed job must have the threads that it would have had at first,
        since its numbers depend on them.
    """
    assert n_jobs > 0
    cores = cpu_cores()
    side_by_side = min(jobs if jobs is not None else (1 if device.startswith("cuda") else cores), n_jobs)
    return side_by_side, max(1, cores // side_by_side)


def run_jobs(
    specs: Sequence[JobSpec], *, side_by_side: int, fail_fast: bool, on_outcome: Callable[[JobOutcome], object]
) -> tuple[JobOutcome, ...]:
    """Run jobs in worker processes.

    Parameters
    ----------
    specs : sequence of JobSpec
        What to run.
    side_by_side : int
        How many at a time; with 1 they run in this process.
    fail_fast : bool
        End at the first failure instead of running the others.
    on_outcome : callable
        Told of every job that ended, in the order in which they end.

    Returns
    -------
    tuple of JobOutcome
        One a job, in the order of `specs`; with `fail_fast` those not run are missing.
    """
    outcomes: dict[tuple[str, int], JobOutcome] = {}
    # However we leave, be it by an interrupt, closing ends the workers instead of waiting for their jobs.
    with warnings.catch_warnings(), closing(_outcomes(specs, side_by_side)) as results:
        # loky replaces a worker whose memory grew, which is what a worker that trains one model after another does.
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given")
        # joblib tells of the jobs that closing ends.
        warnings.filterwarnings("ignore", message=".*have been (cancelled|successfully executed)")
        for outcome in results:
            outcomes[outcome.backbone, outcome.fold] = outcome
            on_outcome(outcome)
            if fail_fast and outcome.error is not None:
                break
    return tuple(outcomes[spec.backbone, spec.fold] for spec in specs if (spec.backbone, spec.fold) in outcomes)


def _outcomes(specs: Sequence[JobSpec], side_by_side: int) -> Generator[JobOutcome, None, None]:
    if side_by_side == 1 or len(specs) == 1:
        threads = torch.get_num_threads()
        try:
            yield from map(_run_contained, specs)
        finally:
            torch.set_num_threads(threads)
        return
    parent = os.getpid()
    pool = Parallel(n_jobs=side_by_side, backend="loky", return_as="generator_unordered", batch_size=1)
    results = pool(delayed(_run_in_worker)(spec, parent) for spec in specs)
    ended: set[tuple[str, int]] = set()
    try:
        for outcome in results:
            ended.add((outcome.backbone, outcome.fold))
            yield outcome
    except TerminatedWorkerError:
        for spec in specs:
            if (spec.backbone, spec.fold) not in ended:
                yield _lost(spec)
    finally:
        results.close()


def _lost(spec: JobSpec) -> JobOutcome:
    record = read_record(spec.folder)
    if record is not None and record.settings_digest == spec.digest():
        return JobOutcome(backbone=spec.backbone, fold=spec.fold, record=record, error=None)
    return JobOutcome(
        backbone=spec.backbone,
        fold=spec.fold,
        record=None,
        error="a worker process was killed (out of memory?) and took the waiting jobs along; "
        "run the same command again, with a smaller --jobs or --batch-size",
    )


def _run_in_worker(spec: JobSpec, parent: int) -> JobOutcome:
    # The parent decides what an interrupt means; it ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if all(thread.name != _WATCHER for thread in threading.enumerate()):
        threading.Thread(target=_end_with, args=(parent,), name=_WATCHER, daemon=True).start()
    try:
        return _run_contained(spec)
    finally:
        _return_memory()


def _return_memory() -> None:
    """Give the memory of a finished job back to the system, where the C library can: glibc keeps it for the next."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _end_with(parent: int) -> None:
    """End this worker when its parent is gone: loky's workers would finish their queue."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _run_contained(spec: JobSpec) -> JobOutcome:
    """Run a job; whatever goes wrong in it becomes its outcome, so that the other jobs go on."""
    error_file = spec.folder / ERROR_FILE
    try:
        record = run_job(spec)
    except Exception as error:  # noqa: BLE001 - the border of a job: reported, logged in full, and not swallowed
        detail = str(error) if isinstance(error, HamcvError) else f"{type(error).__name__}: {error}"
        with suppress(OSError):
            write_text(error_file, traceback.format_exc())
        return JobOutcome(
            backbone=spec.backbone, fold=spec.fold, record=None, error=f"{detail} (in full: {error_file})"
        )
    error_file.unlink(missing_ok=True)
    return JobOutcome(backbone=spec.backbone, fold=spec.fold, record=record, error=None)
