"""From the out-of-fold logits of all jobs to ensembles, scores and the predictor; no training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import hamcv
from cv_folds.clinical import METADATA_FILE, read_clinical
from cv_folds.errors import DataError, UsageError, list_rows
from cv_folds.files import write_text
from cv_folds.images import DECODER
from cv_folds.nested_out_of_fold import pool_pairs
from cv_folds.out_of_fold import FoldLogits, OutOfFold, pool
from cv_folds.scheduling.threads import cpu_cores
from cv_folds.splits import VALIDATION
from cv_folds.training.pixels import IMAGENET, Normalisation
from cv_folds.training.record import LOGITS_FILE, MODEL_FILE, VALIDATION_FILE, verified_record
from cv_folds.training.record import read_record as read_job
from cv_folds.training_images import TRAINING_IMAGES_FILE
from ensemble.bundle import write_bundle
from ensemble.crossfit import cross_fit
from ensemble.decisions import read_costs
from ensemble.deployed import Deployed, fit_deployed
from ensemble.held_out_warnings import WARNINGS_FILE
from ensemble.holdout import fit_on_validation, predict_test_part
from ensemble.manifest import Preprocessing, TrainingData
from ensemble.model_card import CardScore
from ensemble.nested import nested_predictions
from ensemble.predictions import Predictions
from ensemble.record import ENSEMBLE_FILE, EnsembleRecord
from hamcv.arms import Division, jobs_of, jobs_of_arm, jobs_of_main, jobs_of_pairs, read_divisions
from hamcv.config import RunConfig, amend_ensemble, read_config
from hamcv.evaluation import METRICS_FILE, NESTED_FILE, PREDICTIONS_FILE, UNCALIBRATED_FILE, score
from hamcv.outlier_limits import gauge_files, held_out_warnings, outlier_limits
from hamcv.run_folder import CONFIG_FILE, hold
from reports.results import Evaluation
from reports.run_folder import RunRecord, read_record
from reports.summary import leakage_warning
from reports.wording import metric_label
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
    if read_clinical(run / METADATA_FILE, divisions[0].folds.image_ids).empty:
        config = config.model_copy(update={"ensemble": asked.without_clinical()})
    with stage("ensemble"):
        deployed = _combine_arm(run, config, divisions[0])()
        for division in divisions[1:]:
            _combine_arm(run, config, division)
        _combine_nested(run, config, divisions[0])
        held_out_warnings(run, config, divisions[0]).write_csv(run / WARNINGS_FILE)
    with stage("evaluate"):
        predictions, evaluation = score(run, config, demo=data.demo)
    files = [run / METRICS_FILE]
    if (no_predictor := _missing_weights(run, config)) is None:
        with stage("predictor"):
            files.append(_write_predictor(run, config, divisions[0], deployed, evaluation, data))
    return Combined(
        predictions=predictions,
        evaluation=evaluation,
        files=tuple(files),
        no_predictor=no_predictor,
        notes=() if config.ensemble.combiners == asked.combiners else (NO_CLINICAL,),
    )


def combine_again(run: Path, changes: Mapping[str, Any] | None = None, assignments: Sequence[str] = ()) -> Combined:
    """Combine, score and report the stored predictions of a run anew, without training.

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
    with hold(run):
        before = read_config(run / CONFIG_FILE)
        config = amend_ensemble(before, changes or {}, assignments)
        facts = read_record(run / "run.json", RunRecord).data
        divisions = read_divisions(run, config, tuple(facts.images_per_class))
        data = TrainingData(
            name=facts.name,
            fingerprint=facts.fingerprint,
            n_images=facts.n_images,
            n_lesions=facts.n_lesions,
            demo=facts.demo,
        )
        _refuse_unfinished(run, config)
        if config != before:
            if config.ensemble.costs is not None:
                read_costs(Path(config.ensemble.costs), divisions[0].folds.classes)
            write_text(run / CONFIG_FILE, config.to_toml())
        combined = combine(run, config, divisions, data, stage=lambda _: nullcontext())
        reports = write_report(
            run, evaluation=combined.evaluation, predictions=combined.predictions, formats=config.report.formats
        )
    return replace(combined, files=(*combined.files, *reports))


def _refuse_unfinished(run: Path, config: RunConfig) -> None:
    """Raise `DataError` that lists the jobs which are not finished, or whose files are not those of their record."""
    lost = [job.title for job in jobs_of(config) if verified_record(job.folder(run), weights=False) is None]
    if lost:
        raise DataError(
            f"{run}: jobs that are unfinished or damaged; the same `hamcv run` trains them again:\n{list_rows(lost)}"
        )


def _missing_weights(run: Path, config: RunConfig) -> str | None:
    """Tell in one line which weights are missing; None when all are there."""
    paths = [job.folder(run) for job in jobs_of_main(config)]
    missing = [path / MODEL_FILE for path in paths if not (path / MODEL_FILE).is_file()]
    if not missing:
        return None
    return (
        f"no predictor written: it needs the weights of all {len(paths)} jobs, and those of {len(missing)} are not "
        f"there (the first: {missing[0]}); scores and reports do not need them"
    )


def _combine_arm(run: Path, config: RunConfig, division: Division) -> Callable[[], Deployed]:
    """Pool the jobs of an arm, write what was made of them and return what fits the ensemble of its networks."""
    settings, classes = config.ensemble, division.folds.classes
    clinical = read_clinical(run / METADATA_FILE, division.folds.image_ids)
    costs = None if settings.costs is None else read_costs(Path(settings.costs), classes)
    power, workers = config.training.balancing_power, cpu_cores()
    oof = _pooled(run, config, division)
    deploy: Callable[[], Deployed]
    if division.folds.holdout:
        validation = _pooled(run, config, division, VALIDATION_FILE, held_out=(VALIDATION,))
        scored = predict_test_part(validation, oof, settings, power=power, clinical=clinical, workers=workers)
        deploy = partial(fit_on_validation, validation, settings, power=power, clinical=clinical, costs=costs)
    else:
        scored = cross_fit(oof, settings, power=power, clinical=clinical, workers=workers)
        deploy = partial(fit_deployed, oof, scored, settings, power=power, clinical=clinical, costs=costs)
    folder = division.arm.folder(run)
    EnsembleRecord.of(classes, settings.calibration, scored.priors, costs).write(folder / ENSEMBLE_FILE)
    scored.uncalibrated.write_csv(folder / UNCALIBRATED_FILE)
    scored.predictions.write_csv(folder / PREDICTIONS_FILE)
    return deploy


def _pooled(
    run: Path,
    config: RunConfig,
    division: Division,
    name: str = LOGITS_FILE,
    *,
    held_out: Sequence[int] | None = None,
) -> OutOfFold:
    parts = [FoldLogits.load(job.folder(run) / name) for job in jobs_of_arm(config, division.arm)]
    return pool(division.folds, parts, config.backbones, held_out=held_out)


def _combine_nested(run: Path, config: RunConfig, division: Division) -> None:
    """Write the nested estimate, or remove one that the settings do without."""
    path = run / NESTED_FILE
    if not config.nested:
        path.unlink(missing_ok=True)
        return
    pairs = [FoldLogits.load(job.folder(run) / LOGITS_FILE) for job in jobs_of_pairs(config)]
    oof = pool_pairs(division.folds, _pooled(run, config, division), pairs)
    clinical = read_clinical(run / METADATA_FILE, division.folds.image_ids)
    power = config.training.balancing_power
    nested = nested_predictions(oof, config.ensemble, power=power, clinical=clinical, workers=cpu_cores())
    nested.write_csv(path)


def _normalisations(run: Path, config: RunConfig) -> dict[tuple[str, int], Normalisation]:
    """Return what each deployed network was normalised by, where that is its own."""
    records = {(job.backbone, job.fold): read_job(job.folder(run)) for job in jobs_of_main(config)}
    return {key: own for key, record in records.items() if record and (own := record.normalisation) is not None}


def _write_predictor(
    run: Path, config: RunConfig, division: Division, deployed: Deployed, evaluation: Evaluation, data: TrainingData
) -> Path:
    overall = evaluation.models[deployed.name].overall
    bundle = write_bundle(
        run / "predictor",
        hamcv_version=hamcv.__version__,
        preprocessing=Preprocessing(
            decoder=DECODER, image_size=config.training.image_size, mean=IMAGENET.mean, std=IMAGENET.std
        ),
        deployed=deployed,
        training_data=data,
        scores=[
            CardScore(name=name, title=metric_label(name), value=estimate.value, low=estimate.low, high=estimate.high)
            for name, estimate in overall.items()
            if estimate.value is not None
        ],
        member_files={(job.backbone, job.fold): job.folder(run) / MODEL_FILE for job in jobs_of_main(config)},
        caution=None if evaluation.leakage is None else leakage_warning(evaluation.leakage),
        outliers=outlier_limits(run, config, division),
        gauge_files=gauge_files(run, config),
        normalisations=_normalisations(run, config),
        # A run of an earlier version has none.
        training_images=learned if (learned := run / TRAINING_IMAGES_FILE).is_file() else None,
    )
    return bundle.folder
