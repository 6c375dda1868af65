"""The main job: data, folds, training, ensemble, report and predictor, in this order."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from cv_folds.data.cache import cache_root, decoded_pixels
from cv_folds.data.dataset import LesionDataset
from cv_folds.errors import JobFailedError, list_rows
from cv_folds.leakage import audit_folds
from cv_folds.splits import Folds, inner_split
from cv_folds.training.jobs import JobSpec, finished, peak_memory_mib
from cv_folds.training.preflight import try_backbone
from cv_folds.training.schedule import JobOutcome, cpu_cores, run_jobs, share_threads
from cv_folds.training.weights import WeightsFile, find_weights
from ensemble.device import resolve_device
from ensemble.manifest import TrainingData
from hamcv.combining import combine
from hamcv.config import RunConfig
from hamcv.folding import Split, split
from hamcv.journal import RunJournal
from hamcv.log import LOGGER, logging_to
from hamcv.progress import image_progress, job_progress
from hamcv.run_folder import open_run_folder
from hamcv.sources import DEMO_BANNER, open_dataset
from reports.results import Evaluation
from reports.write import write_report


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How to carry a run out; nothing here changes its results."""

    out: Path
    """The run folder."""
    jobs: int | None
    """Jobs side by side; None for one a core, or one on a GPU."""
    fail_fast: bool
    """End at the first failed job."""
    overwrite: bool
    """Start afresh in a run folder that exists."""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a finished run leaves."""

    evaluation: Evaluation
    """All scores."""
    files: tuple[Path, ...]
    """The reports, the scores and the predictor."""
    seconds: dict[str, float]
    """Stage to wall-clock seconds."""


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """Everything that can be found wrong before the first file is written."""

    dataset: LesionDataset
    """What the run works on."""
    device: torch.device
    """Where it computes."""
    split: Split
    """Its folds."""
    weights: dict[str, WeightsFile | None]
    """Backbone to its starting weights."""


def preflight(config: RunConfig, *, download: bool) -> Preflight:
    """Read the data, check that it can be split, find the device and the weights.

    Raises
    ------
    UsageError, DataError
        With the mend.
    """
    device = resolve_device(config.device)
    dataset = open_dataset(config.data, limit_lesions=config.limit_lesions, seed=config.seed)
    made = split(dataset, n_folds=config.folds, seed=config.seed)
    for fold in range(config.folds):
        inner_split(made.folds, fold, parts=config.training.validation_parts, seed=config.seed)
    weights = {name: find_weights(config.weights, name, download=download) for name in config.backbones}
    for name, file in weights.items():
        try_backbone(name, len(dataset.classes), image_size=config.training.image_size, weights=file)
    return Preflight(dataset=dataset, device=device, split=made, weights=weights)


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
    with open_run_folder(options.out, config, overwrite=options.overwrite) as begin:
        # Data, settings, weights and images that cannot be used are found before the run folder is touched.
        found = preflight(config, download=True)
        side_by_side, threads = _share_threads(config, options, found)
        start = time.perf_counter()
        pixels = _decode(found.dataset, config.training.image_size, console)
        decode_seconds = time.perf_counter() - start
        begin()
        with logging_to(console, options.out / "log.jsonl") as log:
            if found.dataset.demo:
                log.warning(DEMO_BANNER)
            log.info(
                f"{found.dataset.name}: {len(found.dataset)} images of {found.dataset.n_lesions} lesions, "
                f"{len(found.dataset.classes)} classes; {config.folds} folds x {len(config.backbones)} backbones on "
                f"{found.device}, {side_by_side} side by side"
            )
            journal = RunJournal(options.out / "run.json", config, found.dataset, str(found.device), threads)
            journal.spent("decode", decode_seconds)
            try:
                result = _stages(config, options, found, pixels, journal, console)
            except (KeyboardInterrupt, SystemExit):
                journal.end("interrupted")
                raise
            except Exception:
                journal.end("failed")
                raise
            log.info(f"done in {sum(result.seconds.values()):.0f} s: {options.out}")
            return result


def _stages(
    config: RunConfig, options: RunOptions, found: Preflight, pixels: Path, journal: RunJournal, console: Console
) -> RunResult:
    dataset = found.dataset
    with journal.stage("folds"):
        folds = found.split.folds
        folds.write_csv(options.out / "folds.csv")
        audit_folds(folds, found.split.merged).write(options.out / "audit.json")
    with journal.stage("train"):
        _train(config, options, found, folds, pixels, journal, console)
    data = TrainingData(
        name=dataset.name,
        fingerprint=dataset.fingerprint,
        n_images=len(dataset),
        n_lesions=dataset.n_lesions,
        demo=dataset.demo,
    )
    combined = combine(options.out, config, folds, data, stage=journal.stage)
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


def _share_threads(config: RunConfig, options: RunOptions, found: Preflight) -> tuple[int, int]:
    # By all jobs of the run, not those left: a resumed run computes with the same number of threads.
    return share_threads(options.jobs, found.device.type, len(config.backbones) * config.folds)


def _decode(dataset: LesionDataset, image_size: int, console: Console) -> Path:
    with image_progress("decoding images", len(dataset), console) as bars:
        task = bars.task_ids[0]
        return decoded_pixels(
            dataset, image_size, root=cache_root(), workers=cpu_cores(), on_image=lambda: bars.advance(task)
        )


def _train(
    config: RunConfig,
    options: RunOptions,
    found: Preflight,
    folds: Folds,
    pixels: Path,
    journal: RunJournal,
    console: Console,
) -> None:
    side_by_side, threads = _share_threads(config, options, found)
    specs = [
        JobSpec(
            run=options.out.absolute(),
            backbone=backbone,
            fold=fold,
            folds=folds,
            pixels=pixels,
            fingerprint=found.dataset.fingerprint,
            settings=config.training,
            weights=found.weights[backbone],
            seed=config.seed,
            device=str(found.device),
            threads=threads,
        )
        for backbone in config.backbones
        for fold in range(config.folds)
    ]
    outcomes = _run_what_is_left(specs, side_by_side, options.fail_fast, console)
    journal.jobs(outcomes, peak_memory_mib() + _workers_memory(outcomes, side_by_side))
    if failed := [outcome for outcome in outcomes if outcome.error is not None]:
        rows = [f"{outcome.backbone}, fold {outcome.fold}: {outcome.error}" for outcome in failed]
        raise JobFailedError(
            f"{len(failed)} of {len(specs)} jobs failed:\n{list_rows(rows)}\n"
            f"{len(outcomes) - len(failed)} are finished and kept in {options.out}; mend the cause and run the same "
            "command again to resume."
        )


def _run_what_is_left(
    specs: list[JobSpec], side_by_side: int, fail_fast: bool, console: Console
) -> tuple[JobOutcome, ...]:
    records = {(spec.backbone, spec.fold): finished(spec) for spec in specs}
    kept = tuple(
        JobOutcome(backbone=backbone, fold=fold, record=record, error=None)
        for (backbone, fold), record in records.items()
        if record is not None
    )
    left = [spec for spec in specs if records[spec.backbone, spec.fold] is None]
    with job_progress(left, side_by_side, console) as progress:
        if kept:
            LOGGER.info(f"{len(kept)} of {len(specs)} jobs were finished before")

        def tell(outcome: JobOutcome) -> None:
            progress.finished(outcome)
            if outcome.record is None:
                LOGGER.error(f"{outcome.backbone}, fold {outcome.fold} failed: {outcome.error}")
            else:
                record = outcome.record
                LOGGER.info(
                    f"{record.backbone}, fold {record.fold}: epoch {record.best_epoch} of {record.epochs_run} kept, "
                    f"{record.seconds:.0f} s, {record.images_per_second:.0f} images/s"
                )

        return kept + run_jobs(left, side_by_side=side_by_side, fail_fast=fail_fast, on_outcome=tell)


def _workers_memory(outcomes: tuple[JobOutcome, ...], side_by_side: int) -> float:
    """Return an upper bound in MiB: the largest jobs side by side, pages that they share counted in each."""
    if side_by_side == 1:
        return 0.0
    peaks = sorted((outcome.record.peak_memory_mib for outcome in outcomes if outcome.record), reverse=True)
    return sum(peaks[:side_by_side])
