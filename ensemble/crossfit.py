"""Scoring every model without letting anything that was fitted see what it is scored on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cv_folds.arrays import FloatArray, frozen
from cv_folds.clinical import ClinicalTable
from cv_folds.out_of_fold import OutOfFold
from cv_folds.splits import torn_groups
from ensemble.held_out import HeldOut, Model, Part, models_of, predict_held_out
from ensemble.predictions import Predictions
from ensemble.priors import PriorShift, prior_shift
from ensemble.rows import Rows
from ensemble.settings import EnsembleSettings


@dataclass(frozen=True, kw_only=True)
class CrossFitted:
    """Probabilities of every backbone and every ensemble, by fits that had not seen the rows."""

    predictions: Predictions
    """With natural class shares and calibrated: what is scored."""
    uncalibrated: Predictions
    """With the class shares of training and not calibrated, for comparison."""
    combined: Mapping[str, FloatArray]
    """Model name to (n, n_classes) probabilities with natural class shares, not calibrated."""
    priors: Mapping[int, PriorShift]
    """Fold to the class shares that its rows were adjusted with, from labels of the other folds."""
    seconds: Mapping[str, float]
    """Model name to the processor time of its fits, on one core; those for `uncalibrated` left out."""


def cross_fit(
    oof: OutOfFold,
    settings: EnsembleSettings,
    *,
    power: float,
    clinical: ClinicalTable | None = None,
    workers: int = 1,
) -> CrossFitted:
    """Predict every fold with models that were fitted on the other folds.

    Parameters
    ----------
    oof : OutOfFold
        Out-of-fold logits of all backbones.
    settings : EnsembleSettings
        Which combiners and which calibrator, and how they are fitted.
    power : float
        `TrainingSettings.balancing_power`: which class shares training showed.
    clinical : ClinicalTable, optional
        Holds the images of `oof` at least; without it nothing is known about them.
    workers : int
        Most processes side by side; the result does not depend on it.

    Returns
    -------
    CrossFitted
        Nothing about fold k, labels included, enters its own rows through prior, combiner or calibrator:
        hyperparameters, too, are chosen within the other folds. With two folds, the calibrator of a fold learns from a
        division of the other one by groups.
    """
    assert oof.leaks or not torn_groups(oof.groups, oof.folds)
    rows = Rows.of(oof, clinical)
    numbers = np.unique(oof.folds)
    parts = [
        Part(
            fitting=rows.select(oof.folds != fold),
            folds=oof.folds[oof.folds != fold],
            held_out=rows.select(oof.folds == fold),
        )
        for fold in numbers
    ]
    models = models_of(oof.backbones, settings)
    answers = predict_held_out(models, parts, settings, power=power, workers=workers)

    def pooled(which: Callable[[HeldOut], FloatArray]) -> dict[str, FloatArray]:
        tables = {}
        for model, of_folds in zip(models, answers, strict=True):
            table = np.full((len(oof.image_ids), len(oof.classes)), np.nan)
            for fold, answer in zip(numbers, of_folds, strict=True):
                table[oof.folds == fold] = which(answer)
            tables[model.name] = frozen(table)
        return tables

    return CrossFitted(
        predictions=as_predictions(oof, models, pooled(lambda answer: answer.calibrated)),
        uncalibrated=as_predictions(oof, models, pooled(lambda answer: answer.uncalibrated)),
        combined=pooled(lambda answer: answer.combined),
        priors={
            int(fold): prior_shift(part.fitting.labels, rows.n_classes, power=power)
            for fold, part in zip(numbers, parts, strict=True)
        },
        seconds={
            model.name: sum(answer.seconds for answer in of_folds)
            for model, of_folds in zip(models, answers, strict=True)
        },
    )


def as_predictions(oof: OutOfFold, models: Sequence[Model], probabilities: Mapping[str, FloatArray]) -> Predictions:
    """Return a table of the images of `oof` with the (n, n_classes) probabilities of every model."""
    return Predictions(
        image_ids=oof.image_ids,
        lesion_ids=oof.lesion_ids,
        groups=oof.groups,
        folds=oof.folds,
        labels=oof.labels,
        classes=oof.classes,
        probabilities=probabilities,
        kinds={model.name: model.kind for model in models},
    )
