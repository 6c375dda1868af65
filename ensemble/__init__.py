"""Combining out-of-fold predictions, and the predictor that comes of it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ensemble.bundle import Bundle as Bundle
    from ensemble.bundle import read_bundle as read_bundle
    from ensemble.bundle_writing import write_bundle as write_bundle
    from ensemble.combiners import COMBINERS as COMBINERS
    from ensemble.combiners import Combiner as Combiner
    from ensemble.crossfit import CrossFitted as CrossFitted
    from ensemble.crossfit import cross_fit as cross_fit
    from ensemble.deployed import Deployed as Deployed
    from ensemble.deployed import fit_deployed as fit_deployed
    from ensemble.prediction import Prediction as Prediction
    from ensemble.predictions import Predictions as Predictions
    from ensemble.predictor import EnsemblePredictor as EnsemblePredictor
    from ensemble.settings import EnsembleSettings as EnsembleSettings

_HOMES = {
    "Bundle": "bundle",
    "COMBINERS": "combiners",
    "Combiner": "combiners",
    "CrossFitted": "crossfit",
    "Deployed": "deployed",
    "EnsemblePredictor": "predictor",
    "EnsembleSettings": "settings",
    "Prediction": "prediction",
    "Predictions": "predictions",
    "cross_fit": "crossfit",
    "fit_deployed": "deployed",
    "read_bundle": "bundle",
    "write_bundle": "bundle_writing",
}


def __getattr__(name: str) -> Any:
    """Import public names on first use: torch and scikit-learn take seconds that a table does not need."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"ensemble.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
