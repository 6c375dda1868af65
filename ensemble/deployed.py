"""What a predictor is made of, beside the networks."""

from __future__ import annotations

from dataclasses import dataclass

from cv_folds.arrays import FloatArray
from cv_folds.clinical import ClinicalTable
from cv_folds.out_of_fold import OutOfFold
from ensemble.calibration.registry import CALIBRATORS
from ensemble.combiners import COMBINERS
from ensemble.conformal import PredictionSets, calibrate_sets
from ensemble.crossfit import CrossFitted
from ensemble.decisions import DecisionRules
from ensemble.fitted import FittedModel
from ensemble.priors import prior_shift
from ensemble.rows import Rows
from ensemble.settings import CombinerName, EnsembleSettings


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """What turns the members' outputs into an answer on new images."""

    classes: tuple[str, ...]
    """Class names in column order."""
    backbones: tuple[str, ...]
    """Backbone names in the order in which the combiner takes their logits."""
    name: CombinerName
    """Which combiner."""
    model: FittedModel
    """Prior, combiner and calibrator, fitted on all out-of-fold rows."""
    rules: DecisionRules
    """How a class may be decided on."""
    prediction_sets: PredictionSets
    """Calibrated on the cross-fitted probabilities of the same kind of model."""


def fit_deployed(
    oof: OutOfFold,
    cross_fitted: CrossFitted,
    settings: EnsembleSettings,
    *,
    power: float,
    clinical: ClinicalTable | None = None,
    costs: FloatArray | None = None,
) -> Deployed:
    """Fit the deployed model on all out-of-fold rows.

    Parameters
    ----------
    oof : OutOfFold
        Out-of-fold logits of all backbones.
    cross_fitted : CrossFitted
        What `cross_fit` made of `oof` with the same settings.
    settings : EnsembleSettings
        `deployed` names the combiner, `coverage` that of the sets.
    power : float
        `TrainingSettings.balancing_power`.
    clinical : ClinicalTable, optional
        Holds the images of `oof` at least; without it nothing is known about them.
    costs : (n_classes, n_classes) float64, optional
        For the rule ``costs``.

    Returns
    -------
    Deployed
        The combiner has seen every row, so that calibrator and prediction sets learn from the cross-fitted rows.
    """
    assert cross_fitted.predictions.image_ids.tolist() == oof.image_ids.tolist()
    name = settings.deployed
    rows = Rows.of(oof, clinical)
    prior = prior_shift(rows.labels, rows.n_classes, power=power)
    adjusted = rows.adjusted(prior)
    combiner = COMBINERS[name].fit(adjusted.logits, adjusted.labels, adjusted.groups, settings, adjusted.clinical)
    calibrator = CALIBRATORS[settings.calibration].fit(
        cross_fitted.combined[name], rows.labels, rows.groups, settings, prior
    )
    return as_deployed(
        oof, cross_fitted, FittedModel(prior=prior, combiner=combiner, calibrator=calibrator), settings, costs
    )


def as_deployed(
    oof: OutOfFold,
    cross_fitted: CrossFitted,
    model: FittedModel,
    settings: EnsembleSettings,
    costs: FloatArray | None,
) -> Deployed:
    """Add decision rules and prediction sets to a fitted model, from the cross-fitted rows of its kind."""
    probabilities = cross_fitted.predictions.probabilities[settings.deployed]
    return Deployed(
        classes=oof.classes,
        backbones=oof.backbones,
        name=settings.deployed,
        model=model,
        rules=DecisionRules(natural=model.prior.natural, costs=costs),
        prediction_sets=calibrate_sets(
            probabilities, oof.labels, oof.groups, coverage=settings.coverage, method=settings.prediction_sets
        ),
    )
