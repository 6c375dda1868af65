"""Models of one fixed division: fitted on the validation part, scored once on the test part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cv_folds.arrays import FloatArray, frozen
from cv_folds.clinical import ClinicalTable
from cv_folds.out_of_fold import OutOfFold
from ensemble.combiners import COMBINERS
from ensemble.crossfit import CrossFitted, as_predictions, cross_fit
from ensemble.deployed import Deployed, as_deployed
from ensemble.fitted import fit_model
from ensemble.held_out import Part, models_of, predict_held_out
from ensemble.inner_folds import inner_folds
from ensemble.priors import prior_shift
from ensemble.rows import Rows
from ensemble.settings import EnsembleSettings


def predict_test_part(
    validation: OutOfFold,
    test: OutOfFold,
    settings: EnsembleSettings,
    *,
    power: float,
    clinical: ClinicalTable | None = None,
    workers: int = 1,
) -> CrossFitted:
    """Predict the test part with models that were fitted on the validation part.

    Parameters
    ----------
    validation : OutOfFold
        Logits of the validation part, which prior, combiners and calibrators learn from.
    test : OutOfFold
        Logits of the test part of the same networks.
    settings : EnsembleSettings
        Which combiners and which calibrator, and how they are fitted.
    power : float
        `TrainingSettings.balancing_power`.
    clinical : ClinicalTable, optional
        Holds the images of both parts at least; without it nothing is known about them.
    workers : int
        Most processes side by side; the result does not depend on it.

    Returns
    -------
    CrossFitted
        Of the images of the test part. Nothing about it enters a fit.
    """
    assert validation.backbones == test.backbones
    assert validation.leaks or not set(validation.groups.tolist()) & set(test.groups.tolist())
    part = Part(
        fitting=Rows.of(validation, clinical),
        folds=_divide(validation, settings).folds,
        held_out=Rows.of(test, clinical),
    )
    models = models_of(test.backbones, settings)
    answers = {
        model.name: of_part[0]
        for model, of_part in zip(
            models, predict_held_out(models, [part], settings, power=power, workers=workers), strict=True
        )
    }
    prior = prior_shift(validation.labels, len(validation.classes), power=power)
    return CrossFitted(
        predictions=as_predictions(test, models, {name: frozen(answer.calibrated) for name, answer in answers.items()}),
        uncalibrated=as_predictions(
            test, models, {name: frozen(answer.uncalibrated) for name, answer in answers.items()}
        ),
        combined={name: frozen(answer.combined) for name, answer in answers.items()},
        priors={int(fold): prior for fold in np.unique(test.folds)},
        seconds={name: answer.seconds for name, answer in answers.items()},
    )


def fit_on_validation(
    validation: OutOfFold,
    settings: EnsembleSettings,
    *,
    power: float,
    clinical: ClinicalTable | None = None,
    costs: FloatArray | None = None,
) -> Deployed:
    """Fit the deployed model on the validation part, and calibrate its prediction sets there.

    Parameters
    ----------
    validation : OutOfFold
        Logits of the validation part.
    settings : EnsembleSettings
        `deployed` names the combiner, `coverage` that of the sets.
    power : float
        `TrainingSettings.balancing_power`.
    clinical : ClinicalTable, optional
        Holds the images of the part at least; without it nothing is known about them.
    costs : (n_classes, n_classes) float64, optional
        For the rule ``costs``.

    Returns
    -------
    Deployed
        The model is the one that `predict_test_part` scores. The sets are calibrated on probabilities that are
        cross-fitted over groups within the part, so that no image calibrates a model that learned from it.
    """
    divided = _divide(validation, settings)
    alone = settings.model_copy(update={"combiners": (settings.deployed,)})
    model = fit_model(COMBINERS[settings.deployed], Rows.of(divided, clinical), divided.folds, settings, power=power)
    return as_deployed(divided, cross_fit(divided, alone, power=power, clinical=clinical), model, settings, costs)


def _divide(validation: OutOfFold, settings: EnsembleSettings) -> OutOfFold:
    """Divide the validation part into folds, by groups."""
    return replace(validation, folds=inner_folds(validation.labels, validation.groups, most=settings.inner_folds))
