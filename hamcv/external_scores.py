"""What an ensemble says about an external set, and how good that is."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace

import numpy as np
from rich.console import Console

from cv_folds.arrays import frozen
from cv_folds.clinical import ClinicalTable
from ensemble import EnsemblePredictor, Prediction
from ensemble.decisions import DecisionRules
from ensemble.predictions import Predictions
from hamcv.external_set import ExternalSet
from hamcv.image_progress import image_progress
from hamcv.prediction_rows import columns, row
from hamcv.run_config import RunConfig
from reports.attributes import attributes_of
from reports.effects import Effects
from reports.evaluation import evaluate
from reports.malignant import malignant_classes
from reports.measure_effects import measure_effects
from reports.measure_subgroups import measure_subgroups
from reports.results import Evaluation
from reports.set_coverage import measure_own_sets


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What the ensemble says about every image that is scored."""

    predictions: Predictions
    """Its probabilities beside the truth."""
    each: tuple[Prediction, ...]
    """(n,) everything else, in the same order."""

    @property
    def n_warned(self) -> int:
        """Number of images that the predictor warns of."""
        return sum(prediction.warning is not None for prediction in self.each)

    def to_csv(self) -> str:
        """Return the table of `hamcv predict`, with image ids in place of paths."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns(self.predictions.classes))
        for image, prediction in zip(self.predictions.image_ids.tolist(), self.each, strict=True):
            writer.writerow(row(image, prediction))
        return text.getvalue()


def ask(predictor: EnsemblePredictor, chosen: ExternalSet, console: Console) -> Answers:
    """Predict every image that is scored.

    Parameters
    ----------
    predictor : EnsemblePredictor
        Whom to ask.
    chosen : ExternalSet
        The images.
    console : rich.console.Console
        For the progress, on stderr.

    Raises
    ------
    DataError
        When an image cannot be read; the message names it.
    """
    dataset, manifest = chosen.dataset, predictor.bundle.manifest
    each: list[Prediction] = []
    with image_progress("predicting", len(dataset), console) as bars:
        for prediction in predictor.explain_each(dataset.paths):
            each.append(prediction)
            bars.advance(bars.task_ids[0])
    rows = np.stack([prediction.probabilities for prediction in each])
    predictions = Predictions(
        image_ids=dataset.image_ids,
        lesion_ids=dataset.lesion_ids,
        groups=chosen.groups,
        folds=frozen(np.zeros(len(dataset)), np.int64),
        labels=chosen.labels,
        classes=manifest.classes,
        probabilities={manifest.combiner.name: frozen(rows)},
        kinds={manifest.combiner.name: "ensemble"},
    )
    return Answers(predictions=predictions, each=tuple(each))


def score(
    predictor: EnsemblePredictor, predictions: Predictions, clinical: ClinicalTable, config: RunConfig, *, demo: bool
) -> Evaluation:
    """Score probabilities, prediction sets and decision rules of a predictor.

    Parameters
    ----------
    predictor : EnsemblePredictor
        Whose sets and rules.
    predictions : Predictions
        Its probabilities.
    clinical : ClinicalTable
        What the set says about these images; divides them into subgroups.
    config : RunConfig
        Number of resamples, and their seed.
    demo : bool
        Whether images, or those of the training, are generated.
    """
    bundle = predictor.bundle
    generator = np.random.default_rng(config.seed)
    evaluation = evaluate(predictions, demo=demo, settings=config.report, generator=generator)
    sets = measure_own_sets(
        predictions,
        bundle.manifest.combiner.name,
        bundle.prediction_sets,
        tried_on="elsewhere",
        resamples=config.report.resamples,
        generator=generator,
    )
    effects = _decide(predictions, bundle.rules, config)
    subgroups = measure_subgroups(
        predictions,
        attributes_of(predictions, clinical),
        tuple(predictions.probabilities),
        malignant_classes(predictions.classes, config.report.malignant),
        resamples=config.report.resamples,
        generator=np.random.default_rng(config.seed),
    )
    return replace(evaluation, protocol="external", prediction_sets=sets, effects=effects, subgroups=subgroups)


def _decide(predictions: Predictions, rules: DecisionRules, config: RunConfig) -> Effects:
    """Score the decision rules of the predictor, on the same resamples as everything else."""
    decided = {
        model: {rule: rules.decide(rows, rule) for rule in rules.names}
        for model, rows in predictions.probabilities.items()
    }
    generator = np.random.default_rng(config.seed)
    resamples = config.report.resamples
    return measure_effects(predictions, None, decided, costs=rules.costs, resamples=resamples, generator=generator)
