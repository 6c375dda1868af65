"""How often stated probabilities come true, before and after calibration, of every model and class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cv_folds.arrays import FloatArray, IntArray
from ensemble.predictions import Predictions
from reports.curves import ReliabilityDiagram, reliability_diagram


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """The reliability of one table of probabilities."""

    overall: ReliabilityDiagram
    """Highest probability of each image against whether that class is right."""
    per_class: Mapping[str, ReliabilityDiagram]
    """Class name to the diagram of that class's probability, one against the rest."""

    def to_json(self) -> dict[str, Any]:
        """Return the form used in ``metrics.json``."""
        return {
            "overall": _diagram_json(self.overall),
            "per_class": {name: _diagram_json(diagram) for name, diagram in self.per_class.items()},
        }


@dataclass(frozen=True, kw_only=True)
class ReliabilityChange:
    """The reliability of one model as trained, and with natural class shares and calibrated."""

    before: Reliability
    """As the networks were trained."""
    after: Reliability
    """As in the tables of scores."""


def measure_reliability(after: Predictions, before: Predictions) -> dict[str, ReliabilityChange]:
    """Compare stated probabilities with frequencies, model by model.

    Parameters
    ----------
    after, before : Predictions
        The same images and models.
    """
    return {
        model: ReliabilityChange(
            before=_reliability(before.labels, before.probabilities[model], before.classes),
            after=_reliability(after.labels, after.probabilities[model], after.classes),
        )
        for model in after.probabilities
    }


def _reliability(labels: IntArray, probabilities: FloatArray, classes: tuple[str, ...]) -> Reliability:
    return Reliability(
        overall=reliability_diagram(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels),
        per_class={
            name: reliability_diagram(probabilities[:, index], labels == index) for index, name in enumerate(classes)
        },
    )


def _diagram_json(diagram: ReliabilityDiagram) -> dict[str, list[float] | list[int]]:
    return {
        "mean_confidence": diagram.mean_confidence.tolist(),
        "observed": diagram.observed.tolist(),
        "counts": diagram.counts.tolist(),
    }
