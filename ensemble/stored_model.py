"""A fitted model as it stands in the manifest of a bundle, and back."""

from __future__ import annotations

from cv_folds.arrays import frozen
from cv_folds.errors import DataError
from ensemble.calibration.registry import CALIBRATORS, Calibrator, calibrator_name
from ensemble.combiners import COMBINERS, Combiner
from ensemble.decisions import DecisionRules
from ensemble.deployed import Deployed
from ensemble.fitted import FittedModel
from ensemble.manifest import Manifest
from ensemble.manifest_parts import StoredCalibrator, StoredCombiner, StoredDecisions, StoredPrior
from ensemble.priors import PriorShift


def store_prior(prior: PriorShift) -> StoredPrior:
    """Return the manifest's form of class shares."""
    return StoredPrior(shown=tuple(prior.shown.tolist()), natural=tuple(prior.natural.tolist()))


def store_combiner(deployed: Deployed) -> StoredCombiner:
    """Return the manifest's form of the fitted combiner."""
    return StoredCombiner(
        name=deployed.name, backbones=deployed.backbones, parameters=deployed.model.combiner.parameters()
    )


def store_calibrator(calibrator: Calibrator) -> StoredCalibrator:
    """Return the manifest's form of a fitted calibrator."""
    return StoredCalibrator(name=calibrator_name(calibrator), parameters=calibrator.parameters())


def store_rules(rules: DecisionRules) -> StoredDecisions:
    """Return the manifest's form of decision rules."""
    costs = None if rules.costs is None else tuple(tuple(row) for row in rules.costs.tolist())
    return StoredDecisions(natural=tuple(rules.natural.tolist()), costs=costs)


def read_model(manifest: Manifest) -> FittedModel:
    """Return prior, combiner and calibrator of a manifest; `DataError` when they are malformed or do not fit it."""
    return FittedModel(
        prior=PriorShift(shown=frozen(manifest.prior.shown), natural=frozen(manifest.prior.natural)),
        combiner=_read_combiner(manifest),
        calibrator=_read_calibrator(manifest),
    )


def read_rules(manifest: Manifest) -> DecisionRules:
    """Return the decision rules of a manifest."""
    costs = manifest.decisions.costs
    return DecisionRules(
        natural=frozen(manifest.decisions.natural), costs=None if costs is None else frozen(costs, float)
    )


def _read_combiner(manifest: Manifest) -> Combiner:
    stored = manifest.combiner
    combiner = COMBINERS[stored.name].from_parameters(stored.parameters)
    shape = (len(stored.backbones), len(manifest.classes))
    if (combiner.n_backbones, combiner.n_classes) != shape:
        raise DataError(
            f"the combiner takes {combiner.n_backbones} backbones and {combiner.n_classes} classes, the bundle has "
            f"{shape[0]} and {shape[1]}"
        )
    return combiner


def _read_calibrator(manifest: Manifest) -> Calibrator:
    stored = manifest.calibrator
    calibrator = CALIBRATORS[stored.name].from_parameters(stored.parameters)
    if calibrator.n_classes != len(manifest.classes):
        raise DataError(f"the calibrator takes {calibrator.n_classes} classes, the bundle has {len(manifest.classes)}")
    return calibrator
