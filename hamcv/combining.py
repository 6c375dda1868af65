"""From the out-of-fold logits of all jobs to ensembles, scores and the predictor; no training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from cv_folds.clinical import METADATA_FILE, read_clinical
from cv_folds.errors import UsageError
from cv_folds.files import write_text
from cv_folds.nested_out_of_fold import pool_pairs
from cv_folds.out_of_fold import FoldLogits
from cv_folds.scheduling.threads import cpu_cores
from cv_folds.training.record import LOGITS_FILE
from ensemble.decisions import read_costs
from ensemble.deployed import Deployed
from ensemble.held_out_warnings import WARNINGS_FILE
from ensemble.manifest_parts import TrainingData
from ensemble.nested import nested_predictions
from ensemble.predictions import Predictions
from ensemble.record import ENSEMBLE_FILE, EnsembleRecord
from hamcv.arms import Division, jobs_of_pairs, read_divisions
from hamcv.config import amend_ensemble, read_config
from hamcv.deploying import missing_weights, training_data, write_predictor
from hamcv.evaluation import (
    METRICS_FILE,
    NESTED_FILE,
    PREDICTIONS_FILE,
    UNCALIBRATED_FILE,
    combined_settings,
    score,
)
from hamcv.fitting import fit_arm, pooled, refuse_unfinished
from hamcv.gallery import drop_stale_gallery
from hamcv.outlier_limits import held_out_warnings
from hamcv.run_config import RunConfig
from hamcv.run_folder import CONFIG_FILE, WAIT, hold
from reports.gallery_files import read_gallery
from reports.results import Evaluation
from reports.run_records import RunRecord, read_record
from reports.write import write_report

NO_CLINICAL = (
    f"stack_meta is left out: no age, sex or body site of any image is known (from {METADATA_FILE} of the run)"
)


@dataclass(frozen=True, kw_only=True)
class Combined:
    """What the jobs of a run give together."""

    predictions: Predictions
    """As read back from ``predictions.csv``."""
    evaluation: Evaluation
    """All scores."""
    files: tuple[Path, ...]
    """What was written: the scores, the predictor and, from `combine_again`, the reports."""
    no_predictor: str | None
    """Why no predictor was written, in one line; None when it was."""
    notes: tuple[str, ...]
    """What else a person should know, a line each."""


def combine(
    run: Path,
    config: RunConfig,
    divisions: Sequence[Division],
    data: TrainingData,
    *,
    stage: Callable[[str], AbstractContextManager[None]],
) -> Combined:
    """Pool the jobs' logits, cross-fit the ensembles, score everything and write the predictor.

    The predictor needs the weights of every job; where some are missing, all the rest is done without them.

    Parameters
    ----------
    run : Path
        A run folder whose jobs are finished.
    config : RunConfig
        Its settings.
    divisions : sequence of Division
        Its folds in every arm, the main one first.
    data : TrainingData
        What it was trained on.
    stage : callable
        Makes a context in which a named stage is timed.

    Raises
    ------
    DataError
        When predictions are missing, doubled or damaged.
    """
    asked = config.ensemble
    config = config.model_copy(update={"ensemble": combined_settings(run, config)})
    with stage("ensemble"):
        arms = [_combine_arm(run, config, division) for division in divisions]
        deployed = arms[0].deploy()
        _combine_nested(run, config, divisions[0])
        held_out_warnings(run, config, divisions[0]).write_csv(run / WARNINGS_FILE)
        # Last: predictions without a record are refused, whatever a combination that was cut off left of them.
        for division, arm in zip(divisions, arms, strict=True):
            arm.record.write(division.arm.folder(run) / ENSEMBLE_FILE)
    with stage("evaluate"):
        predictions, evaluation = score(run, config, demo=data.demo)
    files = [run / METRICS_FILE]
    if (no_predictor := missing_weights(run, config)) is None:
        with stage("predictor"):
            bundle = write_predictor(
                run / "predictor",
                run,
                config,
                divisions[0],
                deployed,
                data=data,
                scores=evaluation.models[deployed.name].overall,
                leakage=evaluation.leakage,
            )
            files.append(bundle.folder)
    return Combined(
        predictions=predictions,
        evaluation=evaluation,
        files=tuple(files),
        no_predictor=no_predictor,
        notes=() if config.ensemble.combiners == asked.combiners else (NO_CLINICAL,),
    )


def combine_again(run: Path, changes: Mapping[str, Any] | None = None, assignments: Sequence[str] = ()) -> Combined:
    """Combine, score and report the stored predictions of a run anew, without training.

    A gallery that shows answers of the earlier ensembles is removed; one whose images would be chosen again stays.

    Parameters
    ----------
    run : Path
        A run folder.
    changes, assignments
        Settings of the ensembles to change first, as for `hamcv.config.resolve`; ``config.toml`` then holds them.

    Returns
    -------
    Combined

    Raises
    ------
    UsageError
        When `run` is no run folder, or a change is wrong.
    DataError
        When a file of the run is missing or damaged.
    RunFolderBusyError
        When another process writes to it.
    """
    if not (run / CONFIG_FILE).is_file():
        raise UsageError(f"{run} is no run folder: it has no {CONFIG_FILE}")
    with hold(run, mend=WAIT):
        before = read_config(run / CONFIG_FILE)
        config = amend_ensemble(before, changes or {}, assignments)
        gallery = read_gallery(run)
        facts = read_record(run / "run.json", RunRecord).data
        divisions = read_divisions(run, config, tuple(facts.images_per_class))
        refuse_unfinished(run, config)
        if config.ensemble.costs is not None:
            read_costs(Path(config.ensemble.costs), divisions[0].folds.classes)
        combined = combine(run, config, divisions, training_data(facts), stage=lambda _: nullcontext())
        if config != before:
            # Not before: a combination that is refused changes nothing.
            write_text(run / CONFIG_FILE, config.to_toml())
        # Drawing needs images and weights, which this command does without.
        stale = drop_stale_gallery(run, config, gallery, combined.predictions)
        reports = write_report(
            run, evaluation=combined.evaluation, predictions=combined.predictions, formats=config.report.formats
        )
    notes = combined.notes if stale is None else (*combined.notes, stale)
    return replace(combined, files=(*combined.files, *reports), notes=notes)


@dataclass(frozen=True, kw_only=True)
class _CombinedArm:
    """One arm whose predictions are written, and whose record is not."""

    record: EnsembleRecord
    """How they were made."""
    deploy: Callable[[], Deployed]
    """Fits the ensemble of the arm's predictor."""


def _combine_arm(run: Path, config: RunConfig, division: Division) -> _CombinedArm:
    """Write what the ensembles of an arm say, and remove the record of what was there before."""
    settings, classes = config.ensemble, division.folds.classes
    costs = None if settings.costs is None else read_costs(Path(settings.costs), classes)
    fitted = fit_arm(run, config, division, costs)
    folder, scored = division.arm.folder(run), fitted.scored
    deploy = cache(fitted.deploy)
    # The test part of a hold-out is new to the predictor, so that its sets can be tried there.
    sets = deploy().prediction_sets if division.folds.holdout else None
    (folder / ENSEMBLE_FILE).unlink(missing_ok=True)
    scored.uncalibrated.write_csv(folder / UNCALIBRATED_FILE)
    scored.predictions.write_csv(folder / PREDICTIONS_FILE)
    return _CombinedArm(record=EnsembleRecord.of(classes, settings, scored, costs, sets), deploy=deploy)


def _combine_nested(run: Path, config: RunConfig, division: Division) -> None:
    """Write the nested estimate, or remove one that the settings do without."""
    path = run / NESTED_FILE
    if not config.nested:
        path.unlink(missing_ok=True)
        return
    pairs = [FoldLogits.load(job.folder(run) / LOGITS_FILE) for job in jobs_of_pairs(config)]
    oof = pool_pairs(division.folds, pooled(run, config, division), pairs)
    clinical = read_clinical(run / METADATA_FILE, division.folds.image_ids)
    power = config.training.balancing_power
    nested = nested_predictions(oof, config.ensemble, power=power, clinical=clinical, workers=cpu_cores())
    nested.write_csv(path)
