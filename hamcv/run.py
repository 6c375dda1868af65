"""The main job: data, folds, training, ensemble, report and predictor, in this order."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from cv_folds.leakage import measure_leakage
from cv_folds.scheduling.engine import Engine
from cv_folds.training.history import check_event_writer
from cv_folds.training.job_spec import JobSpec
from cv_folds.training.jobs import peak_memory_mib
from cv_folds.training_images import TrainingImages
from ensemble.manifest_parts import TrainingData
from hamcv.arms import jobs_of, pairs_left_out
from hamcv.combining import combine
from hamcv.gallery import draw_gallery
from hamcv.job import images_learned_from, refuse_changed_folds, refuse_changed_images, write_folds
from hamcv.journal import RunJournal
from hamcv.log import LOGGER, logging_to
from hamcv.preflight import Preflight, preflight
from hamcv.run_config import RunConfig
from hamcv.run_folder import done_anew, open_run_folder
from hamcv.sources import DEMO_BANNER
from hamcv.training import choose_engine, decode, job_spec, memory_of_workers, refuse_failures, refuse_other_jobs, train
from reports.results import Evaluation
from reports.wording import plural
from reports.write import write_report


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How to carry a run out; nothing here changes its results."""

    out: Path
    """The run folder."""
    jobs: int | None
    """Jobs side by side; None for one a core, or one on each GPU."""
    fail_fast: bool
    """End at the first failed job."""
    overwrite: bool
    """Start afresh in a run folder that exists."""
    backend: str = "local"
    """Where the jobs run: ``local``, or a ``dask`` or ``ray`` cluster."""
    address: str | None = None
    """Of the cluster."""
    tensorboard: bool = False
    """Write TensorBoard event files into the job folders."""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a finished run leaves."""

    evaluation: Evaluation
    """All scores."""
    files: tuple[Path, ...]
    """The reports, the scores and the predictor."""
    seconds: dict[str, float]
    """Stage to wall-clock seconds."""


def run(config: RunConfig, options: RunOptions, console: Console) -> RunResult:
    """Carry out a whole run, or what is left of it.

    Parameters
    ----------
    config : RunConfig
        What determines the results.
    options : RunOptions
        How to carry it out.
    console : rich.console.Console
        For the log and the progress, on stderr.

    Returns
    -------
    RunResult

    Raises
    ------
    JobFailedError
        When jobs failed; the others are finished and kept.
    UsageError, DataError, RunFolderBusyError
        Before anything is written.
    """
    if options.tensorboard:
        check_event_writer()
    with (
        open_run_folder(options.out, config, overwrite=options.overwrite) as begin,
        choose_engine(config, backend=options.backend, address=options.address, jobs=options.jobs) as engine,
    ):
        # Data, settings, weights, images and workers that cannot be used are found before the run folder is touched.
        found = preflight(config, download=True, console=console)
        if not options.overwrite:
            refuse_changed_folds(options.out, config, found)
        start = time.perf_counter()
        pixels = decode(found.dataset, config.training.image_size, console)
        decode_seconds = time.perf_counter() - start
        specs = [
            job_spec(
                config,
                job,
                run=options.out,
                found=found,
                pixels=pixels,
                device=engine.device,
                threads=engine.threads,
                tensorboard=options.tensorboard,
            )
            for job in jobs_of(config)
        ]
        if not options.overwrite:
            refuse_other_jobs(specs, options.out)
        start = time.perf_counter()
        learned = images_learned_from(found)
        reading_seconds = time.perf_counter() - start
        if not options.overwrite:
            refuse_changed_images(options.out, learned)
        engine.check(specs)
        anew = [] if options.overwrite else done_anew(options.out, config)
        begin()
        with logging_to(console, options.out / "log.jsonl") as log:
            if found.dataset.demo:
                log.warning(DEMO_BANNER)
            for note in (*found.dataset.notes, *found.notes):
                log.warning(f"note: {note}")
            log.info(
                f"{found.dataset.name}: {len(found.dataset)} images of {found.dataset.n_lesions} lesions, "
                f"{len(found.dataset.classes)} classes; {plural(len(specs), 'training')} of "
                f"{plural(len(config.backbones), 'backbone')} on "
                f"{engine.device}, {engine.side_by_side} side by side" + (f" on {engine.place}" if engine.place else "")
            )
            for line in anew:
                log.warning(f"note: {line}")
            assert found.shared is not None
            for line in found.shared.words:
                log.info(line)
            for note in (note for division in found.divisions for note in division.notes):
                log.warning(note)
            if pairs_left_out(config, options.out):
                log.warning("without --nested the nested estimate is left out; its trainings are kept for it")
            journal = RunJournal(
                options.out / "run.json",
                config,
                found.dataset,
                device=engine.device,
                threads=engine.threads,
                side_by_side=engine.side_by_side,
                place=engine.place,
                leakage=measure_leakage(found.main.groups, found.main.folds),
            )
            journal.spent("audit", found.audit_seconds)
            journal.spent("decode", decode_seconds)
            journal.spent("folds", reading_seconds)
            try:
                result = _stages(config, options, found, learned, engine, specs, journal, console)
            except (KeyboardInterrupt, SystemExit):
                journal.end("interrupted")
                raise
            except Exception:
                journal.end("failed")
                raise
            log.info(f"done in {sum(result.seconds.values()):.0f} s: {options.out}")
            return result


def _stages(
    config: RunConfig,
    options: RunOptions,
    found: Preflight,
    learned: TrainingImages,
    engine: Engine,
    specs: list[JobSpec],
    journal: RunJournal,
    console: Console,
) -> RunResult:
    dataset = found.dataset
    with journal.stage("folds"):
        write_folds(options.out, found, learned)
    with journal.stage("train"):
        outcomes = train(engine, specs, fail_fast=options.fail_fast, console=console)
        journal.jobs(outcomes, peak_memory_mib() + memory_of_workers(outcomes, engine))
        refuse_failures(outcomes, len(specs), options.out)
    data = TrainingData(
        name=dataset.name,
        fingerprint=dataset.fingerprint,
        n_images=len(dataset),
        n_lesions=dataset.n_lesions,
        demo=dataset.demo,
    )
    combined = combine(options.out, config, found.divisions, data, stage=journal.stage)
    for note in combined.notes:
        LOGGER.warning(f"note: {note}")
    with journal.stage("gallery"):
        # The devices of a cluster are elsewhere.
        device = engine.device if engine.place is None else "cpu"
        draw_gallery(options.out, config, dataset, combined.predictions, device)
    # Before the report, which prints when the run ended.
    journal.finish()
    with journal.stage("report"):
        reports = write_report(
            options.out,
            evaluation=combined.evaluation,
            predictions=combined.predictions,
            formats=config.report.formats,
        )
    journal.end("done")
    return RunResult(evaluation=combined.evaluation, files=(*combined.files, *reports), seconds=journal.seconds)
