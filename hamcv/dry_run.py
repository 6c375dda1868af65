"""What `hamcv run` would do: its checks, but for those that write.

What is left out: images are read where near-duplicates are looked for, and not decoded for training; workers of a
cluster are counted, and not asked what they see of the file systems.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cv_folds.scheduling.engine import Engine
from cv_folds.training.jobs import finished
from hamcv.arms import jobs_of
from hamcv.job import images_learned_from, refuse_changed_folds, refuse_changed_images
from hamcv.preflight import Preflight, preflight
from hamcv.run_config import RunConfig
from hamcv.run_folder import CONFIG_FILE, done_anew, refuse_run_folder
from hamcv.training import job_spec, refuse_other_jobs


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run would be made of, and where it would begin."""

    found: Preflight
    """Its data, folds and weights."""
    folder: Path
    """The run folder."""
    trainings: int
    """How many the run has."""
    finished: int | None
    """How many of them are finished; None for a new run."""
    replaces: bool
    """Whether the new run removes one that is there."""
    anew: tuple[str, ...]
    """What is combined or scored anew in a run that is resumed, a line each."""


def plan_run(config: RunConfig, folder: Path, engine: Engine, *, overwrite: bool) -> Plan:
    """Check what `hamcv.run.run` checks before it trains, but for what the head of this module names; write nothing.

    Parameters
    ----------
    config : RunConfig
        The settings of the run.
    folder : Path
        The run folder; need not exist.
    engine : Engine
        Where the jobs would run.
    overwrite : bool
        Whether an earlier run there would be removed.

    Raises
    ------
    UsageError, DataError, RunFolderBusyError
        As the run would for the same reason.
    """
    refuse_run_folder(folder, config, overwrite=overwrite)
    found = preflight(config, download=False)
    jobs = jobs_of(config)
    there = (folder / CONFIG_FILE).is_file()
    if overwrite or not there:
        return Plan(
            found=found, folder=folder, trainings=len(jobs), finished=None, replaces=there and overwrite, anew=()
        )
    refuse_changed_folds(folder, config, found)
    # Where the decoded images lie, and on what a job runs, is no part of what its result is made of.
    specs = [
        job_spec(config, job, run=folder, found=found, pixels=folder, device=engine.device, threads=engine.threads)
        for job in jobs
    ]
    refuse_other_jobs(specs, folder)
    refuse_changed_images(folder, images_learned_from(found))
    return Plan(
        found=found,
        folder=folder,
        trainings=len(jobs),
        finished=sum(finished(spec) is not None for spec in specs),
        replaces=False,
        anew=tuple(done_anew(folder, config)),
    )
