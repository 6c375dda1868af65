"""Nested cross-validation of the ensembles: what scores a fold has learned from nothing that saw this fold.

The usual estimate fits prior, combiner and calibrator of fold k on the other folds, but on logits of networks that were
trained without these folds alone, hence with fold k among others. What they learned of fold k stands in the logits of
the other folds, where an ensemble can find it. Here, all that scores fold k is fitted on logits of networks that were
trained without fold k too: the whole learner, networks and ensemble, is cross-validated, as for a super learner
(van der Laan, Polley and Hubbard, Stat. Appl. Genet. Mol. Biol. 6 (2007) 25).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cv_folds.arrays import FloatArray, frozen
from cv_folds.clinical import ClinicalTable
from cv_folds.nested_out_of_fold import NestedOutOfFold
from ensemble.crossfit import as_predictions
from ensemble.fitted import fit_model
from ensemble.held_out import Model, Part, models_of
from ensemble.predictions import Predictions
from ensemble.rows import Rows
from ensemble.settings import EnsembleSettings
from ensemble.workers import map_tasks


def nested_predictions(
    oof: NestedOutOfFold,
    settings: EnsembleSettings,
    *,
    power: float,
    clinical: ClinicalTable | None = None,
    workers: int = 1,
) -> Predictions:
    """Return the nested estimate of every ensemble.

    Parameters
    ----------
    oof : NestedOutOfFold
        Logits of the networks that were trained without one fold, and of those that were trained without two.
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
    Predictions
        Calibrated, of the ensembles alone. The rows of fold k come from the networks that were trained without fold k,
        put together by what was fitted on the rows of every other fold j, as seen by networks that were trained
        without j and k. Nothing about fold k enters its own rows, neither through a network nor through prior,
        combiner or calibrator. The networks that are combined were trained on one fold more than those that the
        ensemble was fitted on.
    """
    models = [model for model in models_of(oof.usual.backbones, settings) if model.kind == "ensemble"]
    numbers = np.unique(oof.usual.folds).tolist()
    parts = [_part(oof, fold, clinical) for fold in numbers]
    tasks = [_Task(model=model, part=part, settings=settings, power=power) for model in models for part in parts]
    # The costly ones first, so that no worker is left with one of them at the end.
    answers = map_tasks(_predict, tasks[::-1], n_rows=len(oof.usual.labels), workers=workers)[::-1]
    probabilities = {}
    for number, model in enumerate(models):
        table = np.full((len(oof.usual.image_ids), len(oof.usual.classes)), np.nan)
        for fold, rows in zip(numbers, answers[number * len(parts) :], strict=False):
            table[oof.usual.folds == fold] = rows
        probabilities[model.name] = frozen(table)
    return as_predictions(oof.usual, models, probabilities)


def _part(oof: NestedOutOfFold, fold: int, clinical: ClinicalTable | None) -> Part:
    table = oof.without(fold)
    rows = Rows.of(table, clinical)
    rest = table.folds != fold
    return Part(fitting=rows.select(rest), folds=table.folds[rest], held_out=rows.select(~rest))


@dataclass(frozen=True, kw_only=True)
class _Task:
    model: Model
    part: Part
    settings: EnsembleSettings
    power: float


def _predict(task: _Task) -> FloatArray:
    part = task.part
    fitted = fit_model(task.model.combiner, part.fitting, part.folds, task.settings, power=task.power)
    return fitted.probabilities(part.held_out.logits, part.held_out.clinical)
