"""How a job ended, and the border behind which its failure becomes a result."""

from __future__ import annotations

import traceback
from contextlib import suppress
from dataclasses import dataclass

import torch

from cv_folds.errors import HamcvError
from cv_folds.files import write_text
from cv_folds.training.job_spec import JobSpec
from cv_folds.training.jobs import finished, run_job
from cv_folds.training.memory import return_freed_memory
from cv_folds.training.record import JobRecord, job_name

ERROR_FILE = "error.txt"


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
    second: int | None = None
    """`JobSpec.second` of the job."""
    arm: str = ""
    """`JobSpec.arm` of the job."""

    @property
    def name(self) -> str:
        """For messages; no other job of the run has it."""
        return job_name(self.arm, self.backbone, self.fold, self.second)


class Losses:
    """Counts how often the process that ran a job was lost, and decides whether the job is tried again.

    Parameters
    ----------
    attempts : int
        How often a job may be started in all, at least 1.
    """

    def __init__(self, attempts: int) -> None:
        self._attempts = attempts
        self._lost: dict[str, int] = {}

    def add(self, spec: JobSpec, cause: str) -> JobOutcome | None:
        """Return how the job ended although its process is gone; None when it shall be tried again.

        Parameters
        ----------
        spec : JobSpec
            The job.
        cause : str
            What is known, as an independent clause.
        """
        # A job that was finished in time counts, even if its process could not say so any more.
        if (record := finished(spec)) is not None:
            return succeeded(spec, record)
        self._lost[spec.name] = self._lost.get(spec.name, 0) + 1
        if self._lost[spec.name] < self._attempts:
            return None
        return failed(
            spec,
            f"{cause}, in each of {self._attempts} attempts; mostly this means too little memory: use a smaller "
            "--jobs or --batch-size, then run the same command again",
        )


def succeeded(spec: JobSpec, record: JobRecord) -> JobOutcome:
    """Return the outcome of a finished job."""
    return _outcome(spec, record, None)


def failed(spec: JobSpec, error: str) -> JobOutcome:
    """Return the outcome of a failed job."""
    return _outcome(spec, None, error)


def _outcome(spec: JobSpec, record: JobRecord | None, error: str | None) -> JobOutcome:
    return JobOutcome(
        backbone=spec.backbone, fold=spec.fold, second=spec.second, record=record, error=error, arm=spec.arm
    )


def run_contained(spec: JobSpec) -> JobOutcome:
    """Run a job; whatever goes wrong in it becomes its outcome, so that the other jobs go on."""
    error_file = spec.folder / ERROR_FILE
    try:
        record = run_job(spec)
    except Exception as error:  # noqa: BLE001 - the border of a job: reported, logged in full, and not swallowed
        detail = str(error) if isinstance(error, HamcvError) else f"{type(error).__name__}: {error}"
        with suppress(OSError):
            write_text(error_file, traceback.format_exc())
        return failed(spec, f"{detail} (in full: {error_file})")
    error_file.unlink(missing_ok=True)
    return succeeded(spec, record)


def gpu_is_lost() -> bool:
    """Tell whether this process can use its GPU no more: some errors of a kernel are its answer to everything after."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False


def run_and_tidy(spec: JobSpec) -> JobOutcome:
    """Run a job in a process that lives on, and give its memory back to the system and to the GPU."""
    try:
        return run_contained(spec)
    finally:
        return_freed_memory()
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            # After some errors a GPU answers this process with the same error for ever; the outcome has been told.
            with suppress(RuntimeError):
                torch.cuda.empty_cache()
