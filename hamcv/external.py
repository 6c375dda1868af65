"""`hamcv evaluate`: the ensemble of a run or bundle, scored and reported on a labelled set that it never saw."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

import hamcv
from cv_folds.clinical import ClinicalTable
from cv_folds.errors import UsageError
from cv_folds.files import write_json, write_text
from ensemble import EnsemblePredictor
from hamcv.config import read_config
from hamcv.evaluation import METRICS_FILE, PREDICTIONS_FILE, stored_scores
from hamcv.external_record import (
    ANSWERS_FILE,
    EVALUATION_FILE,
    EXCLUDED_FILE,
    evaluation_record,
    excluded_csv,
    screen_notes,
)
from hamcv.external_scores import Answers, ask, score
from hamcv.external_set import ExternalSet, external_set
from hamcv.run_config import RunConfig
from hamcv.run_folder import CONFIG_FILE
from hamcv.sources import open_dataset
from hamcv.training_data import find_training_data, learned_from
from reports.external import ExternalFacts, external_origin
from reports.origin import build_origin_document
from reports.results import Evaluation
from reports.wording import plural
from reports.write import refuse_other_content, write_document


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
    spins: int | None = None
    """Views turned by random angles that are averaged, too; None for as many as in the run of the model."""


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
    try:
        cells = [cell for row in csv.reader(texts, skipinitialspace=True) for cell in row]
    except csv.Error as error:
        raise UsageError(f"--classes {' '.join(texts)!r}: cannot be read ({error}); write THEIRS=OURS,...") from error
    for cell in cells:
        theirs, separator, ours = (part.strip() for part in cell.partition("="))
        if not separator or not theirs:
            raise UsageError(f"--classes {cell}: write THEIRS=OURS, for example --classes AK=akiec,SCC=")
        if theirs in pairs:
            raise UsageError(f"--classes: {theirs} is named twice")
        pairs[theirs] = ours
    return pairs


def malignant_of(source: Path) -> tuple[str, ...] | None:
    """Return the classes that a run counts as malignant, so that its scores elsewhere do too; None for a bundle."""
    settings = source / CONFIG_FILE
    return read_config(settings).report.malignant if settings.is_file() else None


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
    predictor = EnsemblePredictor.load(options.source, device=options.device, views=options.views, spins=options.spins)
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
        answers = ask(predictor, chosen, console)
    predictions = answers.predictions
    demo = dataset.demo or bundle.manifest.training_data.demo
    with clock.stage("evaluate"):
        clinical = ClinicalTable.of_dataset(chosen.dataset)
        evaluation = score(predictor, predictions, clinical, config, demo=demo)
    facts = _facts(config, options, predictor, chosen, answers, clock.started)
    predictions.write_csv(options.out / PREDICTIONS_FILE, folds=False)
    write_json(options.out / METRICS_FILE, evaluation.to_json())
    write_text(options.out / ANSWERS_FILE, answers.to_csv())
    write_text(options.out / EXCLUDED_FILE, excluded_csv(chosen))
    with clock.stage("report"):
        document = build_origin_document(external_origin(facts, evaluation), evaluation, predictions)
        reports = write_document(options.out, document, config.report.formats)
    record = evaluation_record(facts, bundle, chosen, evaluation) | {"seconds": clock.seconds}
    write_json(options.out / EVALUATION_FILE, record)
    names = (PREDICTIONS_FILE, ANSWERS_FILE, METRICS_FILE, EXCLUDED_FILE, EVALUATION_FILE)
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


def _facts(
    config: RunConfig,
    options: ExternalOptions,
    predictor: EnsemblePredictor,
    chosen: ExternalSet,
    answers: Answers,
    started: datetime,
) -> ExternalFacts:
    manifest = predictor.bundle.manifest
    return ExternalFacts(
        model=_name(options.source),
        ensemble=manifest.combiner.name,
        members=f"{plural(len(manifest.members), 'network')}: {', '.join(manifest.combiner.backbones)}",
        trained_on=manifest.training_data.name,
        n_training_images=chosen.n_learned,
        data=chosen.whole.name,
        layout=chosen.whole.layout,
        n_images=len(chosen.whole),
        matches=chosen.matches,
        images_of_class=chosen.whole.class_counts(),
        excluded=chosen.counts,
        n_merged=len(chosen.merged),
        compared=chosen.compared,
        absent=chosen.absent,
        doubtful=chosen.doubtful,
        ids=not options.own_ids,
        n_warned=answers.n_warned,
        views=options.views,
        spins=predictor.views.spins,
        held_out_spins=manifest.preprocessing.held_out_spins,
        device=str(predictor.device),
        settings=(
            ("Image size", f"{manifest.preprocessing.image_size} pixels"),
            ("Written by", f"hamcv {manifest.hamcv_version}"),
            ("Scored by", f"hamcv {hamcv.__version__}"),
            ("Resamples of the intervals", str(config.report.resamples)),
        ),
        started=started,
        resamples=config.report.resamples,
        own_scores=stored_scores(options.source / METRICS_FILE, manifest.combiner.name),
    )


def _name(source: Path) -> str:
    """Name a run or bundle; every run calls its own bundle the same."""
    folder = source.resolve()
    return f"{folder.parent.name}/{folder.name}" if folder.name == "predictor" else folder.name
