"""`hamcv evaluate`: the ensemble of a run or bundle, scored and reported on a labelled set that it never saw."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

import hamcv
from cv_folds.arrays import FloatArray, frozen
from cv_folds.data.dataset import LesionDataset
from cv_folds.errors import UsageError
from cv_folds.files import write_json, write_text
from cv_folds.training_images import TrainingImages
from ensemble import EnsemblePredictor
from ensemble.bundle import Bundle
from ensemble.decisions import DecisionRules
from ensemble.predictions import Predictions
from hamcv.config import RunConfig
from hamcv.evaluation import METRICS_FILE, PREDICTIONS_FILE
from hamcv.external_record import EVALUATION_FILE, EXCLUDED_FILE, evaluation_record, excluded_csv, screen_notes
from hamcv.external_set import ExternalSet, external_set
from hamcv.progress import image_progress
from hamcv.sources import open_dataset
from hamcv.training_data import TrainingDataAtHand, find_training_data, learned_from
from reports.effects import Effects
from reports.evaluation import evaluate
from reports.external import ExternalFacts, external_origin
from reports.measure_effects import measure_effects
from reports.origin import build_origin_document
from reports.results import Estimate, Evaluation
from reports.set_coverage import measure_own_sets
from reports.wording import plural
from reports.write import refuse_other_content, write_document

SWITCHED_OFF = "the search was switched off"


@dataclass(frozen=True, kw_only=True)
class ExternalOptions:
    """What `hamcv evaluate` is asked for, beside the settings of the data."""

    source: Path
    """A run folder or a bundle."""
    out: Path
    """Folder for the results."""
    training_data: str | None = None
    """Folder of the data that was trained on; None for that of the run."""
    classes: Mapping[str, str] = field(default_factory=dict)
    """Classes of the data to those of the model."""
    own_ids: bool = False
    """Whether ids of the data mean nothing in the training data."""
    device: str = "auto"
    """Where to compute."""
    views: int = 1
    """Turned and mirrored views of every image that are averaged."""


@dataclass(frozen=True, kw_only=True)
class ExternalResult:
    """What came of it."""

    evaluation: Evaluation
    """All scores."""
    notes: tuple[str, ...]
    """What a person should be told about classes and images left out, a line each."""
    files: tuple[Path, ...]
    """What was written."""


def parse_classes(texts: Sequence[str]) -> dict[str, str]:
    """Read ``THEIRS=OURS,...``; names with a comma stand in quotes, an empty OURS leaves the class out.

    Raises
    ------
    UsageError
        When it is written in another way, or names a class twice.
    """
    pairs: dict[str, str] = {}
    for cell in (cell for row in csv.reader(texts, skipinitialspace=True) for cell in row):
        theirs, separator, ours = (part.strip() for part in cell.partition("="))
        if not separator or not theirs:
            raise UsageError(f"--classes {cell}: write THEIRS=OURS, for example --classes AK=akiec,SCC=akiec")
        if theirs in pairs:
            raise UsageError(f"--classes: {theirs} is named twice")
        pairs[theirs] = ours
    return pairs


def evaluate_external(config: RunConfig, options: ExternalOptions, console: Console) -> ExternalResult:
    """Score an ensemble on a set from elsewhere, after leaving out what it has seen, and write the report.

    Parameters
    ----------
    config : RunConfig
        Of it, the settings that say how the data are read, searched and reported.
    options : ExternalOptions
        What else.
    console : rich.console.Console
        For the progress, on stderr.

    Raises
    ------
    UsageError
        When the output folder holds something else, or options do not fit the data.
    DataError
        When bundle or data cannot be read, or no image is left to score.
    """
    clock = _Clock()
    refuse_other_content(options.out, marker=EVALUATION_FILE)
    predictor = EnsemblePredictor.load(options.source, device=options.device, views=options.views)
    bundle = predictor.bundle
    dataset = open_dataset(config.data, format=config.format, columns=config.columns)
    at_hand = find_training_data(options.source, options.training_data, bundle)
    learned = learned_from(bundle, at_hand)
    with clock.stage("choose"):
        chosen = external_set(
            dataset,
            bundle.manifest.classes,
            learned,
            at_hand,
            given=options.classes,
            trust_ids=not options.own_ids,
            audit=config.audit,
            console=console,
        )
    with clock.stage("predict"):
        predictions = _predict(predictor, chosen, console)
    demo = dataset.demo or bundle.manifest.training_data.demo
    with clock.stage("evaluate"):
        generator = np.random.default_rng(config.seed)
        evaluation = evaluate(predictions, demo=demo, settings=config.report, generator=generator)
        sets = measure_own_sets(
            predictions,
            bundle.manifest.combiner.name,
            bundle.prediction_sets,
            resamples=config.report.resamples,
            generator=generator,
        )
        effects = _decide(predictions, bundle.rules, config)
        evaluation = replace(evaluation, protocol="external", prediction_sets=sets, effects=effects)
    facts = _facts(config, options, bundle, dataset, chosen, learned, at_hand, clock.started, predictor.device)
    predictions.write_csv(options.out / PREDICTIONS_FILE, folds=False)
    write_json(options.out / METRICS_FILE, evaluation.to_json())
    write_text(options.out / EXCLUDED_FILE, excluded_csv(chosen))
    with clock.stage("report"):
        document = build_origin_document(external_origin(facts, evaluation), evaluation, predictions)
        reports = write_document(options.out, document, config.report.formats)
    record = evaluation_record(facts, bundle, dataset, chosen, evaluation) | {"seconds": clock.seconds}
    write_json(options.out / EVALUATION_FILE, record)
    names = (PREDICTIONS_FILE, METRICS_FILE, EXCLUDED_FILE, EVALUATION_FILE)
    return ExternalResult(
        evaluation=evaluation,
        notes=screen_notes(facts, chosen, predictions.classes),
        files=(*(options.out / name for name in names), *reports),
    )


class _Clock:
    """Times the stages."""

    def __init__(self) -> None:
        self.started = datetime.now(UTC).replace(microsecond=0)
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 3)


def _predict(predictor: EnsemblePredictor, chosen: ExternalSet, console: Console) -> Predictions:
    dataset, manifest = chosen.dataset, predictor.bundle.manifest
    rows: list[FloatArray] = []
    with image_progress("predicting", len(dataset), console) as bars:
        for prediction in predictor.explain_each(dataset.paths):
            rows.append(prediction.probabilities)
            bars.advance(bars.task_ids[0])
    return Predictions(
        image_ids=dataset.image_ids,
        lesion_ids=dataset.lesion_ids,
        groups=chosen.groups,
        folds=frozen(np.zeros(len(dataset)), np.int64),
        labels=chosen.labels,
        classes=manifest.classes,
        probabilities={manifest.combiner.name: frozen(np.stack(rows))},
        kinds={manifest.combiner.name: "ensemble"},
    )


def _decide(predictions: Predictions, rules: DecisionRules, config: RunConfig) -> Effects:
    """Score the decision rules of the predictor, on the same resamples as everything else."""
    decided = {
        model: {rule: rules.decide(rows, rule) for rule in rules.names}
        for model, rows in predictions.probabilities.items()
    }
    generator = np.random.default_rng(config.seed)
    resamples = config.report.resamples
    return measure_effects(predictions, None, decided, costs=rules.costs, resamples=resamples, generator=generator)


def _facts(
    config: RunConfig,
    options: ExternalOptions,
    bundle: Bundle,
    dataset: LesionDataset,
    chosen: ExternalSet,
    learned: TrainingImages,
    at_hand: TrainingDataAtHand,
    started: datetime,
    device: torch.device,
) -> ExternalFacts:
    manifest = bundle.manifest
    searched = config.audit.near_duplicates
    backbones = ", ".join(manifest.combiner.backbones)
    return ExternalFacts(
        model=_name(options.source),
        ensemble=manifest.combiner.name,
        members=f"{plural(len(manifest.members), 'network')}: {backbones}",
        trained_on=manifest.training_data.name,
        n_training_images=len(learned),
        data=dataset.name,
        layout=dataset.layout,
        n_images=len(dataset),
        matches=chosen.matches,
        images_of_class=dataset.class_counts(),
        excluded=chosen.counts,
        n_merged=len(chosen.merged),
        compared=len(at_hand.dataset) if searched and at_hand.dataset is not None else None,
        absent=at_hand.absent if searched else SWITCHED_OFF,
        doubtful=chosen.doubtful,
        ids=not options.own_ids,
        views=options.views,
        device=str(device),
        settings=(
            ("Image size", f"{manifest.preprocessing.image_size} pixels"),
            ("Written by", f"hamcv {manifest.hamcv_version}"),
            ("Scored by", f"hamcv {hamcv.__version__}"),
            ("Resamples of the intervals", str(config.report.resamples)),
        ),
        started=started,
        resamples=config.report.resamples,
        own_scores=_own_scores(options.source / METRICS_FILE, manifest.combiner.name),
    )


def _own_scores(path: Path, ensemble: str) -> dict[str, Estimate] | None:
    """Read the scores of the ensemble on the data of its run; None where they are not there or of another form."""
    try:
        overall = json.loads(path.read_text(encoding="utf-8"))["models"][ensemble]["overall"]
        return {metric: Estimate(**found) for metric, found in overall.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _name(source: Path) -> str:
    """Name a run or bundle; every run calls its own bundle the same."""
    folder = source.resolve()
    return f"{folder.parent.name}/{folder.name}" if folder.name == "predictor" else folder.name
