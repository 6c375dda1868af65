"""Scoring the ensembles without letting a combiner see what it is scored on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from cv_folds.arrays import FloatArray, frozen
from cv_folds.clinical import ClinicalTable
from cv_folds.out_of_fold import OutOfFold
from cv_folds.splits import torn_groups
from ensemble.combiners import COMBINERS, Combiner
from ensemble.conformal import PredictionSets, calibrate_sets
from ensemble.predictions import ModelKind, Predictions
from ensemble.settings import CombinerName, EnsembleSettings


def cross_fit(
    combiner: type[Combiner], oof: OutOfFold, settings: EnsembleSettings, clinical: ClinicalTable | None = None
) -> FloatArray:
    """Combine every fold with a combiner that was fitted on the other folds.

    Parameters
    ----------
    combiner : type of Combiner
        One of `ensemble.combiners.COMBINERS`.
    oof : OutOfFold
        Out-of-fold logits of all backbones.
    settings : EnsembleSettings
        Passed to the fit.
    clinical : ClinicalTable, optional
        Holds the images of `oof` at least; without it nothing is known about them.

    Returns
    -------
    (n, n_classes) float64
        Probabilities in the order of `oof`. Nothing about fold k, labels included, enters its own rows through
        the combiner: its penalty, too, is chosen within the other folds.
    """
    assert oof.leaks or not torn_groups(oof.groups, oof.folds)
    known = clinical_of(oof, clinical)
    probabilities = np.full((len(oof.image_ids), len(oof.classes)), np.nan)
    for fold in np.unique(oof.folds):
        held_out = oof.folds == fold
        rest = ~held_out
        fitted = combiner.fit(oof.logits[rest], oof.labels[rest], oof.groups[rest], settings, known.rows(rest))
        probabilities[held_out] = fitted.combine(oof.logits[held_out], known.rows(held_out))
    return probabilities


def clinical_of(oof: OutOfFold, clinical: ClinicalTable | None) -> ClinicalTable:
    """Return the clinical values of the images of `oof`, in its order; without a table, that nothing is known."""
    return ClinicalTable.blank(oof.image_ids) if clinical is None else clinical.take(oof.image_ids)


def ensemble_predictions(
    oof: OutOfFold, settings: EnsembleSettings, clinical: ClinicalTable | None = None
) -> Predictions:
    """Return the softmax of every backbone, then the cross-fitted probabilities of every combiner.

    Parameters
    ----------
    oof : OutOfFold
        Out-of-fold logits of all backbones.
    settings : EnsembleSettings
        Which combiners, and how they are fitted.
    clinical : ClinicalTable, optional
        Holds the images of `oof` at least; without it nothing is known about them.

    Returns
    -------
    Predictions
    """
    combined: dict[str, FloatArray] = {
        name: cross_fit(COMBINERS[name], oof, settings, clinical) for name in settings.combiners
    }
    return predictions_of(oof, combined)


def predictions_of(oof: OutOfFold, combined: Mapping[str, FloatArray]) -> Predictions:
    """Return the softmax of every backbone, then what combiners made of them.

    Parameters
    ----------
    oof : OutOfFold
        Logits of images that the backbones had not seen.
    combined : mapping of str to (n, n_classes) float64
        Probabilities by the name of the combiner, in the order of `oof`.
    """
    probabilities = {
        backbone: frozen(softmax(oof.logits[:, column], axis=1)) for column, backbone in enumerate(oof.backbones)
    }
    kinds: dict[str, ModelKind] = dict.fromkeys(oof.backbones, "backbone")
    for name, rows in combined.items():
        assert name not in kinds
        probabilities[name] = frozen(rows)
        kinds[name] = "ensemble"
    return Predictions(
        image_ids=oof.image_ids,
        lesion_ids=oof.lesion_ids,
        groups=oof.groups,
        folds=oof.folds,
        labels=oof.labels,
        classes=oof.classes,
        probabilities=probabilities,
        kinds=kinds,
    )


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """What turns the members' outputs into an answer on new images."""

    classes: tuple[str, ...]
    """Class names in column order."""
    backbones: tuple[str, ...]
    """Backbone names in the order in which the combiner takes their logits."""
    name: CombinerName
    """Which combiner."""
    combiner: Combiner
    """Fitted on all out-of-fold rows."""
    prediction_sets: PredictionSets
    """Calibrated on the cross-fitted probabilities of the same combiner."""


def fit_deployed(
    oof: OutOfFold, predictions: Predictions, settings: EnsembleSettings, clinical: ClinicalTable | None = None
) -> Deployed:
    """Fit the deployed combiner on all out-of-fold rows and calibrate its prediction sets.

    Parameters
    ----------
    oof : OutOfFold
        Out-of-fold logits of all backbones.
    predictions : Predictions
        What `ensemble_predictions` made of `oof` with the same settings.
    settings : EnsembleSettings
        `deployed` names the combiner, `coverage` that of the sets.
    clinical : ClinicalTable, optional
        Holds the images of `oof` at least; without it nothing is known about them.

    Returns
    -------
    Deployed
    """
    assert predictions.image_ids.tolist() == oof.image_ids.tolist()
    name = settings.deployed
    return Deployed(
        classes=oof.classes,
        backbones=oof.backbones,
        name=name,
        combiner=COMBINERS[name].fit(oof.logits, oof.labels, oof.groups, settings, clinical_of(oof, clinical)),
        prediction_sets=calibrate_sets(
            predictions.probabilities[name],
            oof.labels,
            oof.groups,
            coverage=settings.coverage,
            method=settings.prediction_sets,
        ),
    )
