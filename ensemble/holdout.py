"""Ensembles of one fixed division: fitted on the validation part, scored once on the test part."""

from __future__ import annotations

from dataclasses import replace

from cv_folds.arrays import FloatArray
from cv_folds.clinical import ClinicalTable
from cv_folds.out_of_fold import OutOfFold
from ensemble.combiners import COMBINERS
from ensemble.crossfit import Deployed, clinical_of, ensemble_predictions, fit_deployed, predictions_of
from ensemble.inner_folds import inner_folds
from ensemble.predictions import Predictions
from ensemble.settings import CombinerName, EnsembleSettings


def holdout_predictions(
    validation: OutOfFold, test: OutOfFold, settings: EnsembleSettings, clinical: ClinicalTable | None = None
) -> Predictions:
    """Return the softmax of every backbone on the test part, then the probabilities of every combiner.

    Parameters
    ----------
    validation : OutOfFold
        Logits of the validation part, which the combiners learn from.
    test : OutOfFold
        Logits of the test part of the same networks.
    settings : EnsembleSettings
        Which combiners, and how they are fitted.
    clinical : ClinicalTable, optional
        Holds the images of both parts at least; without it nothing is known about them.

    Returns
    -------
    Predictions
        Of the images of the test part. Nothing about it enters a combiner.
    """
    assert validation.backbones == test.backbones
    assert validation.leaks or not set(validation.groups.tolist()) & set(test.groups.tolist())

    def combine(name: CombinerName) -> FloatArray:
        known = clinical_of(validation, clinical)
        fitted = COMBINERS[name].fit(validation.logits, validation.labels, validation.groups, settings, known)
        return fitted.combine(test.logits, clinical_of(test, clinical))

    return predictions_of(test, {name: combine(name) for name in settings.combiners})


def fit_on_validation(
    validation: OutOfFold, settings: EnsembleSettings, clinical: ClinicalTable | None = None
) -> Deployed:
    """Fit the deployed combiner on the validation part, and calibrate its prediction sets there.

    Parameters
    ----------
    validation : OutOfFold
        Logits of the validation part.
    settings : EnsembleSettings
        `deployed` names the combiner, `coverage` that of the sets.
    clinical : ClinicalTable, optional
        Holds the images of the part at least; without it nothing is known about them.

    Returns
    -------
    Deployed
        The sets are calibrated on probabilities that are cross-fitted over groups within the part, so that no image
        calibrates a combiner that learned from it.
    """
    folds = inner_folds(validation.labels, validation.groups, most=settings.inner_folds)
    divided = replace(validation, folds=folds)
    return fit_deployed(divided, ensemble_predictions(divided, settings, clinical), settings, clinical)
