"""Scores and reports of a run folder, from its stored predictions alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from cv_folds.arrays import frozen
from cv_folds.clinical import METADATA_FILE, ClinicalTable, read_clinical
from cv_folds.errors import DataError, UsageError
from cv_folds.files import write_json
from cv_folds.leakage import Audit
from ensemble.combiners import COMBINERS
from ensemble.held_out_warnings import WARNINGS_FILE, HeldOutWarnings
from ensemble.predictions import ModelKind, Predictions
from ensemble.record import ENSEMBLE_FILE, EnsembleRecord
from ensemble.settings import EnsembleSettings
from hamcv.arms import arms_of
from hamcv.config import read_config
from hamcv.run_config import RunConfig
from hamcv.run_folder import CONFIG_FILE, WAIT, hold
from reports.attributes import attributes_of
from reports.effects import Effects
from reports.evaluation import evaluate
from reports.inflation import measure_inflation
from reports.malignant import malignant_classes
from reports.measure_effects import measure_effects
from reports.measure_subgroups import measure_subgroups
from reports.nested import measure_nested
from reports.repeats import spread_over_repeats
from reports.results import Estimate, Evaluation, Inflation, Nested, Repeats
from reports.run_folder import refuse_failed_jobs
from reports.run_records import RunRecord, read_record
from reports.set_coverage import measure_own_sets, measure_sets
from reports.subgroups import Subgroups
from reports.uncertainty import SetCoverage, WarningShares
from reports.warning_shares import measure_warnings
from reports.write import write_report

PREDICTIONS_FILE = "predictions.csv"
UNCALIBRATED_FILE = "predictions-uncalibrated.csv"
NESTED_FILE = "predictions-nested.csv"
METRICS_FILE = "metrics.json"

FORMATS: dict[str, Literal["html", "pdf"]] = {"html": "html", "pdf": "pdf"}


def score(run: Path, config: RunConfig, *, demo: bool) -> tuple[Predictions, Evaluation]:
    """Score ``predictions.csv`` and write ``metrics.json``.

    Parameters
    ----------
    run : Path
        The run folder.
    config : RunConfig
        Its settings.
    demo : bool
        Whether the images are the generated demo set.

    Returns
    -------
    predictions : Predictions
        As read from the file.
    evaluation : Evaluation
        All scores.

    Raises
    ------
    DataError
        When a file is missing or damaged, or the settings are of another combination than the predictions.
    """
    predictions = Predictions.read_csv(run / PREDICTIONS_FILE, model_kinds(config))
    refuse_another_combination(run, config, predictions)
    record = EnsembleRecord.read(run / ENSEMBLE_FILE)
    generator = np.random.default_rng(config.seed)
    evaluation = evaluate(predictions, demo=demo, settings=config.report, generator=generator)
    evaluation = replace(
        evaluation,
        protocol=config.protocol,
        effects=_effects(run, config, record, predictions),
        leakage=read_record(run / "audit.json", Audit).allowed_leakage,
        repeats=_repeats(run, config, predictions),
        inflation=_inflation(run, config, predictions, generator),
        nested=_nested(run, config, predictions),
        prediction_sets=_sets(config, record, predictions, generator),
        warnings=_warnings(run, config, predictions),
        subgroups=_subgroups(run, config, predictions),
    )
    write_json(run / METRICS_FILE, evaluation.to_json())
    return predictions, evaluation


def refuse_another_combination(run: Path, config: RunConfig, predictions: Predictions) -> None:
    """Refuse predictions of other settings than ``config.toml`` has, as a combination leaves that was cut off.

    Parameters
    ----------
    run : Path
        The run folder.
    config : RunConfig
        Its settings.
    predictions : Predictions
        Of its main arm.

    Raises
    ------
    DataError
        Naming a setting that differs, both its values and the mend.
    """
    mend = f"`hamcv ensemble {run}` combines the networks again"
    wanted = combined_settings(run, config)
    for path in (arm.folder(run) / ENSEMBLE_FILE for arm in arms_of(config)):
        if (record := EnsembleRecord.read(path)).settings == wanted:
            continue
        made, named = (settings.model_dump(mode="json") for settings in (record.settings, wanted))
        key = next(key for key, value in made.items() if value != named[key])
        raise DataError(
            f"{path}: the networks were combined with ensemble.{key} = {json.dumps(made[key])}, but {CONFIG_FILE} has "
            f"{json.dumps(named[key])}; {mend}"
        )
    combined = set(predictions.probabilities) - set(config.backbones)
    if combined != set(wanted.combiners):
        raise DataError(
            f"{run / PREDICTIONS_FILE}: holds {', '.join(sorted(combined))}, but {CONFIG_FILE} names "
            f"{', '.join(sorted(wanted.combiners))} as ensemble.combiners; {mend}"
        )


def combined_settings(run: Path, config: RunConfig) -> EnsembleSettings:
    """Return the settings that the networks of a run are combined by: without clinical values, no `stack_meta`.

    Parameters
    ----------
    run : Path
        The run folder.
    config : RunConfig
        Its settings.

    Raises
    ------
    DataError
        When the clinical values are damaged.
    """
    path = run / METADATA_FILE
    known = path.exists() and not ClinicalTable.read_csv(path).empty
    return config.ensemble if known else config.ensemble.without_clinical()


def _effects(run: Path, config: RunConfig, record: EnsembleRecord, predictions: Predictions) -> Effects:
    return measure_effects(
        predictions,
        Predictions.read_csv(run / UNCALIBRATED_FILE, model_kinds(config)),
        record.decide(predictions),
        costs=None if record.costs is None else frozen(record.costs),
        resamples=config.report.resamples,
        # A generator of its own in the same state: the resamples are those of the scores.
        generator=np.random.default_rng(config.seed),
        ranked_by="log_loss on the test part" if config.protocol == "holdout" else "cross-fitted log_loss",
    )


def _sets(
    config: RunConfig, record: EnsembleRecord, predictions: Predictions, generator: np.random.Generator
) -> SetCoverage | None:
    model, resamples = config.ensemble.deployed, config.report.resamples
    if record.prediction_sets is not None:
        return measure_own_sets(
            predictions,
            model,
            record.prediction_sets.rule(),
            tried_on="test part",
            resamples=resamples,
            generator=generator,
        )
    return measure_sets(
        predictions,
        model,
        aimed=config.ensemble.coverage,
        deployed=config.ensemble.prediction_sets,
        resamples=resamples,
        generator=generator,
    )


def _warnings(run: Path, config: RunConfig, predictions: Predictions) -> WarningShares | None:
    if not (path := run / WARNINGS_FILE).is_file():
        return None
    return measure_warnings(
        predictions,
        HeldOutWarnings.read_csv(path),
        config.ensemble.deployed,
        aimed=config.ensemble.outlier_share,
        resamples=config.report.resamples,
        generator=np.random.default_rng(config.seed),
    )


def _subgroups(run: Path, config: RunConfig, predictions: Predictions) -> Subgroups:
    # stack_meta is left out of a run without clinical values, though the settings name it.
    models = [model for model in config.report.subgroup_models if model in predictions.probabilities]
    return measure_subgroups(
        predictions,
        attributes_of(predictions, read_clinical(run / METADATA_FILE, predictions.image_ids)),
        models or [config.ensemble.deployed],
        malignant_classes(predictions.classes, config.report.malignant),
        resamples=config.report.resamples,
        generator=np.random.default_rng(config.seed),
    )


def _repeats(run: Path, config: RunConfig, first: Predictions) -> Repeats | None:
    arms = [arm for arm in arms_of(config) if arm.kind == "repetition"]
    if not arms:
        return None
    others = [Predictions.read_csv(arm.folder(run) / PREDICTIONS_FILE, model_kinds(config)) for arm in arms]
    return spread_over_repeats([first, *others])


def _inflation(run: Path, config: RunConfig, grouped: Predictions, generator: np.random.Generator) -> Inflation | None:
    arm = next((arm for arm in arms_of(config) if arm.kind == "image-level"), None)
    if arm is None:
        return None
    image_level = Predictions.read_csv(arm.folder(run) / PREDICTIONS_FILE, model_kinds(config))
    return measure_inflation(grouped, image_level, settings=config.report, generator=generator)


def _nested(run: Path, config: RunConfig, usual: Predictions) -> Nested | None:
    if not config.nested:
        return None
    nested = Predictions.read_csv(run / NESTED_FILE, model_kinds(config))
    # The seed again: the same resamples as for the scores that the report begins with.
    generator = np.random.default_rng(config.seed)
    return measure_nested(usual, nested, settings=config.report, generator=generator)


def model_kinds(config: RunConfig) -> dict[str, ModelKind]:
    """Return the kind of every model that a run may hold."""
    kinds: dict[str, ModelKind] = dict.fromkeys(config.backbones, "backbone")
    return kinds | dict.fromkeys(COMBINERS, "ensemble")


def stored_scores(path: Path, model: str) -> dict[str, Estimate] | None:
    """Read the overall scores of a model from ``metrics.json``; None where they are not there or of another form."""
    try:
        overall = json.loads(path.read_text(encoding="utf-8"))["models"][model]["overall"]
        return {metric: Estimate(**found) for metric, found in overall.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def report_run(run: Path, formats: Sequence[str], *, gallery: int | None = None) -> tuple[Evaluation, tuple[Path, ...]]:
    """Score and report a finished run again.

    Parameters
    ----------
    run : Path
        A run folder.
    formats : sequence of str
        Any of ``html`` and ``pdf``.
    gallery : int, optional
        Draw the gallery again, which needs the images and the weights, with at most so many images of either kind; 0
        removes it. Without it, what was drawn is shown.

    Raises
    ------
    UsageError
        When `run` is no run folder or a format is unknown.
    DataError
        When a file of the run is missing or damaged, or the images for a gallery are not at hand.
    """
    for name in formats:
        if name not in FORMATS:
            raise UsageError(f"--format {name}: must be html, pdf or both separated by a comma")
    if not (run / CONFIG_FILE).is_file():
        raise UsageError(f"{run} is no run folder: it has no {CONFIG_FILE}")
    chosen = [FORMATS[name] for name in formats]
    with hold(run, mend=WAIT):
        config = read_config(run / CONFIG_FILE)
        record = read_record(run / "run.json", RunRecord)
        refuse_failed_jobs(run, record)
        predictions, evaluation = score(run, config, demo=record.data.demo)
        if gallery is not None:
            # Imported when needed: a report from stored predictions does without torch, its seconds and its memory.
            from hamcv.gallery import redraw_gallery

            redraw_gallery(run, config, record.data, predictions, gallery)
        reports = write_report(run, evaluation=evaluation, predictions=predictions, formats=chosen)
    return evaluation, (run / METRICS_FILE, *reports)
