"""Scores and reports of a run folder, from its stored predictions alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal

import numpy as np
from reports.write import write_report

from cv_folds.errors import UsageError
from cv_folds.files import write_json
from ensemble.combiners import COMBINERS
from ensemble.predictions import ModelKind, Predictions
from hamcv.config import RunConfig, read_config
from hamcv.run_folder import CONFIG_FILE
from reports.evaluation import evaluate
from reports.results import Evaluation
from reports.run_folder import RunRecord, read_record

PREDICTIONS_FILE = "predictions.csv"
METRICS_FILE = "metrics.json"


def make_report(
    run: Path,
    config: RunConfig,
    *,
    demo: bool,
    stage: Callable[[str], AbstractContextManager[None]],
    formats: Sequence[Literal["html", "pdf"]] | None = None,
) -> tuple[Evaluation, tuple[Path, ...]]:
    """Score ``predictions.csv``, write ``metrics.json`` and the reports.

    Parameters
    ----------
    run : Path
        The run folder.
    config : RunConfig
        Its settings.
    demo : bool
        Whether the images are the generated demo set.
    stage : callable
        Makes a context in which a named stage is timed.
    formats : sequence of {"html", "pdf"}, optional
        Those of the settings when not given.

    Returns
    -------
    evaluation : Evaluation
        All scores.
    files : tuple of Path
        What was written.
    """
    with stage("evaluate"):
        predictions = Predictions.read_csv(run / PREDICTIONS_FILE, model_kinds(config))
        generator = np.random.default_rng(config.seed)
        evaluation = evaluate(predictions, demo=demo, settings=config.report, generator=generator)
        write_json(run / METRICS_FILE, evaluation.to_json())
    with stage("report"):
        reports = write_report(
            run, evaluation=evaluation, predictions=predictions, formats=formats or config.report.formats
        )
    return evaluation, (run / METRICS_FILE, *reports)


def model_kinds(config: RunConfig) -> dict[str, ModelKind]:
    """Return the kind of every model that a run may hold."""
    kinds: dict[str, ModelKind] = dict.fromkeys(config.backbones, "backbone")
    return kinds | dict.fromkeys(COMBINERS, "ensemble")


def report_run(run: Path, formats: Sequence[str]) -> tuple[Evaluation, tuple[Path, ...]]:
    """Score and report a finished run again.

    Parameters
    ----------
    run : Path
        A run folder.
    formats : sequence of str
        Any of ``html`` and ``pdf``.

    Raises
    ------
    UsageError
        When `run` is no run folder or a format is unknown.
    DataError
        When a file of the run is missing or damaged.
    """
    chosen: list[Literal["html", "pdf"]] = []
    for name in formats:
        if name not in ("html", "pdf"):
            raise UsageError(f"--format {name}: must be html, pdf or both separated by a comma")
        chosen.append(name)
    if not (run / CONFIG_FILE).is_file():
        raise UsageError(f"{run} is no run folder: it has no {CONFIG_FILE}")
    config = read_config(run / CONFIG_FILE)
    record = read_record(run / "run.json", RunRecord)
    return make_report(run, config, demo=record.data.demo, stage=lambda _: nullcontext(), formats=chosen)
