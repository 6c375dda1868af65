"""One model in whole: restore the class prior, combine, calibrate; fitted so that nothing calibrates on itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cv_folds.arrays import FloatArray, IntArray
from cv_folds.clinical import ClinicalTable
from ensemble.calibration.registry import CALIBRATORS, Calibrator
from ensemble.calibration.uncalibrated import Uncalibrated
from ensemble.combiners import Combiner
from ensemble.inner_folds import inner_folds
from ensemble.priors import PriorShift, prior_shift
from ensemble.rows import Rows
from ensemble.settings import EnsembleSettings


@dataclass(frozen=True, kw_only=True)
class FittedModel:
    """What turns the outputs of the networks of one fold into calibrated probabilities."""

    prior: PriorShift
    """From the class shares of training to natural ones."""
    combiner: Combiner
    """From adjusted logits to probabilities."""
    calibrator: Calibrator
    """From probabilities to calibrated ones."""

    def combine(self, logits: FloatArray, clinical: ClinicalTable | None = None) -> FloatArray:
        """Return (n, n_classes) probabilities before calibration from (n, n_backbones, n_classes) logits."""
        return self.combiner.combine(self.prior.adjust(logits), clinical)

    def probabilities(self, logits: FloatArray, clinical: ClinicalTable | None = None) -> FloatArray:
        """Return (n, n_classes) calibrated probabilities from (n, n_backbones, n_classes) logits."""
        return self.calibrator.calibrate(self.combine(logits, clinical))


def fit_model(
    combiner: type[Combiner], rows: Rows, folds: IntArray, settings: EnsembleSettings, *, power: float
) -> FittedModel:
    """Fit prior, combiner and calibrator on the same rows.

    Parameters
    ----------
    combiner : type of Combiner
        One of `ensemble.combiners.COMBINERS`.
    rows : Rows
        All that may be learned from.
    folds : (n,) int
        The fold of each row, by which the calibrator's rows are kept apart from the combiner's.
    settings : EnsembleSettings
        Passed to the fits.
    power : float
        `TrainingSettings.balancing_power`: which class shares training showed.

    Returns
    -------
    FittedModel
        The combiner is fitted on all rows. The calibrator learns from probabilities for the same rows that refits of
        the combiner gave, each without the fold that it combined: in-sample probabilities are too sure of
        themselves, and a calibrator would learn to trust them. The hyperparameters of the refits are those of the
        whole fit.
    """
    prior = prior_shift(rows.labels, rows.n_classes, power=power)
    adjusted = rows.adjusted(prior)
    fitted = combiner.fit(adjusted.logits, adjusted.labels, adjusted.groups, settings, adjusted.clinical)
    calibrator = _fit_calibrator(fitted, adjusted, prior, folds, settings)
    return FittedModel(prior=prior, combiner=fitted, calibrator=calibrator)


def _fit_calibrator(
    fitted: Combiner, adjusted: Rows, prior: PriorShift, folds: IntArray, settings: EnsembleSettings
) -> Calibrator:
    if len(np.unique(folds)) < 2:
        folds = inner_folds(adjusted.labels, adjusted.groups, most=settings.inner_folds)
    if settings.calibration == "none" or len(np.unique(folds)) < 2:
        # Rows of a single lesion cannot be kept apart from themselves, so that there is nothing to calibrate on.
        return Uncalibrated(n_classes=adjusted.n_classes)
    unseen = np.full((len(adjusted.labels), adjusted.n_classes), np.nan)
    for fold in np.unique(folds):
        held_out = adjusted.select(folds == fold)
        rest = adjusted.select(folds != fold)
        refitted = fitted.refit(rest.logits, rest.labels, rest.groups, rest.clinical)
        unseen[folds == fold] = refitted.combine(held_out.logits, held_out.clinical)
    return CALIBRATORS[settings.calibration].fit(unseen, adjusted.labels, adjusted.groups, settings, prior)
