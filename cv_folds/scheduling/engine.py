"""What every engine can do, and running jobs on any of them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from cv_folds.scheduling.outcome import JobOutcome
from cv_folds.training.job_spec import JobSpec


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """What an engine is opened with."""

    device: str
    """``cpu``, ``cuda`` or ``cuda:N``; for a cluster ``auto`` too, and no ``cuda:N``."""
    jobs: int | None
    """Most jobs side by side; None for as many as there is room for."""
    n_jobs: int
    """All jobs of the run, finished ones too."""
    address: str | None
    """Of the cluster; None on this machine."""


class Engine(Protocol):
    """Runs jobs somewhere."""

    @property
    def device(self) -> str:
        """What the jobs compute on: ``cpu``, ``cuda`` or ``cuda:N``."""

    @property
    def side_by_side(self) -> int:
        """How many jobs run at a time."""

    @property
    def threads(self) -> int:
        """CPU threads of each job."""

    @property
    def place(self) -> str | None:
        """Where the jobs run, for a reader; None on this machine."""

    def check(self, specs: Sequence[JobSpec]) -> None:
        """Find out whether every worker can run the jobs: sees their run folder and files, and has this hamcv.

        Raises
        ------
        UsageError
            Naming the worker, what it lacks and the mend.
        """

    def outcomes(self, specs: Sequence[JobSpec]) -> Generator[JobOutcome, None, None]:
        """Run jobs and yield each outcome when the job ends; never raise for a job's failure.

        Closing the generator ends the jobs that are under way.
        """


def run_jobs(
    engine: Engine, specs: Sequence[JobSpec], *, fail_fast: bool, on_outcome: Callable[[JobOutcome], object]
) -> tuple[JobOutcome, ...]:
    """Run jobs on an engine.

    Parameters
    ----------
    engine : Engine
        Where to run them.
    specs : sequence of JobSpec
        What to run.
    fail_fast : bool
        End at the first failure instead of running the others.
    on_outcome : callable
        Told of every job that ended, in the order in which they end.

    Returns
    -------
    tuple of JobOutcome
        One a job, in the order of `specs`; with `fail_fast` those not run are missing.
    """
    outcomes: dict[str, JobOutcome] = {}
    # However we leave, be it by an interrupt, closing ends the jobs instead of waiting for them.
    with closing(engine.outcomes(specs)) as results:
        for outcome in results:
            outcomes[outcome.name] = outcome
            on_outcome(outcome)
            if fail_fast and outcome.error is not None:
                break
    return tuple(outcomes[spec.name] for spec in specs if spec.name in outcomes)
